"""Makes plain ``import sam3`` patched for every interpreter of this environment, by one ``.pth`` file."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sam3port.errors import UsageError

FILE_NAME: Final = "sam3port-activate.pth"


def site_packages() -> Path:
    """Where this environment's interpreters look for ``.pth`` files."""
    return Path(sysconfig.get_paths()["purelib"])


def activation_file() -> Path:
    return site_packages() / FILE_NAME


def is_active() -> bool:
    return activation_file().is_file()


def activate(upstream: Path | None = None, disable: Iterable[str] = ()) -> Path:
    """Writes the file, whole or not at all.

    Args:
        upstream: a checkout of the user's that the environment shall use, None for the pinned one.
        disable: names to switch off in this environment.

    Raises:
        UsageError: the environment's site-packages cannot be written.
    """
    where = str(upstream.expanduser().absolute()) if upstream is not None else None
    # ASCII, because Python reads these files in the encoding of whoever starts it.
    line = f"import sam3port.autoload; sam3port.autoload.start({where!a}, {tuple(sorted(disable))!a})\n"
    target = activation_file()
    try:
        handle, aside = tempfile.mkstemp(prefix=".sam3port-", dir=target.parent)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(line)
        Path(aside).chmod(0o644)
        Path(aside).replace(target)
    except OSError as error:
        raise UsageError(
            f"{target.parent} cannot be written: {error.strerror}", "use a virtual environment of your own"
        ) from None
    return target


def deactivate() -> bool:
    """Takes the file away. Returns whether there was one.

    Raises:
        UsageError: it cannot be removed.
    """
    try:
        activation_file().unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{activation_file()} cannot be removed: {error.strerror}") from None
    return True
