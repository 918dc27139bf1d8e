"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sam3port.errors import UsageError


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of ``file`` when the block ends well; else nothing changes.

    Raises:
        UsageError: it cannot be written: the folder is absent or must not be written to, the disk is full.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        try:
            with aside.open("wb") as stream:
                yield stream
            aside.replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror or error}", "choose a folder that exists, with space in it"
        ) from error
