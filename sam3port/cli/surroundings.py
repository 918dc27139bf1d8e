"""What every command needs of the place where it is started, looked at before it begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sam3port.cache import places
from sam3port.errors import UsageError


def fill_standard_streams() -> None:
    """Gives a standard stream that is closed (``>&-``, some daemons) the null device.

    Otherwise the next file that is opened would take its number, and get what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 (as long as the program)
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def check_surroundings(command: str, arguments: Iterable[str]) -> None:
    """
    Args:
        command: that is about to run.
        arguments: of the program.

    Raises:
        UsageError: there is no home or no working folder, or torch and TVM could not open the files that are named.
    """
    if command == "run":
        return  # the user's own program decides what it needs
    _check_home()
    _check_names(command, arguments)


def _check_home() -> None:
    """``import tvm`` fails without one, and the cache would have no place."""
    try:
        Path.home()
    except RuntimeError:
        if not os.environ.get("XDG_CACHE_HOME"):
            raise places.no_home() from None


def _check_names(command: str, arguments: Iterable[str]) -> None:
    """Python keeps bytes of a file's name that it cannot decode as lone surrogates, which mean nothing to others."""
    coding = sys.getfilesystemencoding()
    # Photographs with such names are opened by Python itself. But in C's own locale any letter outside of ASCII is
    # such a byte, those of `--text` as well.
    given = [] if command == "segment" and coding == "utf-8" else arguments
    for name in (*given, *_folders()):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{name!a} is not {coding}, which this Python takes names for",
                "rename it: torch and TVM take names for UTF-8" if coding == "utf-8" else "set PYTHONUTF8=1",
            ) from None


def _folders() -> Iterator[str]:
    yield str(places.cache_root())
    yield os.environ.get("TMPDIR", "")
    try:
        yield os.getcwd()  # noqa: PTH109 (as it is called, not resolved)
    except FileNotFoundError:  # torch's MKL ends the process then
        raise UsageError("the working folder does not exist any more", "go to one that does") from None
