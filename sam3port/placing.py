"""Files and folders that appear whole or not at all: written aside, then put in place in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from sam3port.errors import Sam3PortError, UsageError

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WRONG_PLACE: Final = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP),
}
_EXCHANGE: Final = 2
"""``RENAME_EXCHANGE`` of Linux, ``RENAME_SWAP`` of macOS."""
_HERE: Final = -100
"""``AT_FDCWD`` of Linux."""


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


@contextlib.contextmanager
def put_in_place(folder: Path, *, flush: bool = True) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` when the block ends well, and goes when it does not.

    Whoever is killed meanwhile leaves ``folder`` as it was, and at most ``.NAME.new`` beside it, which the next one
    removes. Where the system cannot exchange folders in one step, there is a moment without ``folder``;
    `recover` then brings the old one back.

    Args:
        folder: its parent exists.
        flush: whether all of it is on the disk before it is put in place, so that not even a power failure leaves half
            of it; in vain for what can be made again.
    """
    new = folder.with_name(f".{folder.name}.new")
    recover(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        if flush:
            _flush(new)
        _replace(folder, new)
        if flush:
            _sync(folder.parent)
    finally:
        # The new one if it failed, the old one if they were exchanged, nothing if there was none.
        shutil.rmtree(new, ignore_errors=True)


def recover(folder: Path) -> None:
    """Brings back what `put_in_place` had moved away when it was killed between its two renames."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)


def _replace(folder: Path, new: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    if exchange(folder, new):
        return
    old = folder.with_name(f".{folder.name}.old")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Gives two folders each other's name in one step; False where system or file system cannot."""
    names = (os.fsencode(one), os.fsencode(other))
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if platform.system() == "Linux":
            return bool(library.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
        if platform.system() == "Darwin":
            return bool(library.renamex_np(*names, _EXCHANGE) == 0)
    except (AttributeError, OSError, TypeError):  # an old C library; Windows has none by that name
        return False
    return False


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    if os.name != "posix" and path.is_dir():
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_errors(folder: Path) -> Iterator[None]:
    """Turns what the file system refuses within the block into an error for people.

    Args:
        folder: named where the system does not say which file it was.

    Raises:
        UsageError: nothing can be made in that place.
        Sam3PortError: the disk is full, or something else is wrong with it.
    """
    try:
        yield
    except OSError as error:
        problem = f"{error.filename2 or error.filename or folder}: {error.strerror or error}"
        if error.errno in _WRONG_PLACE:
            raise UsageError(problem, "choose another folder with --out (or, for the cache, SAM3PORT_CACHE)") from error
        room = "make room and build again; " if error.errno in _FULL else ""
        raise Sam3PortError(problem, f"{room}{folder} is as it was before") from error
