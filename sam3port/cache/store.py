"""What stages left, by key: a folder in the user's cache that several builds share.

An entry appears by one rename, so it is whole or not there. Files are handed on as hard links where the file system
has them, so that a build folder and the cache hold one copy.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sam3port.errors import UsageError

SIZE_VARIABLE: Final = "SAM3PORT_CACHE_GIB"
_DEFAULT_GIB: Final = 32.0
_IN_USE: Final = 3600.0
"""Seconds after its last use during which an entry is never removed: another build may be reading it."""

_numbers = itertools.count()


class Store:
    """Entries by key, each a folder of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._writing = root / ".writing"
        self._writing.mkdir(parents=True, exist_ok=True)

    def check_writable(self) -> None:
        """
        Raises:
            OSError: no entry can be added.
        """
        self.begin().rmdir()

    def find(self, key: str) -> Path | None:
        """The folder of an entry, None if there is none. Marks it as used."""
        folder = self.root / key
        try:
            os.utime(folder)
        except OSError:
            return None
        return folder

    def begin(self) -> Path:
        """A new, empty folder to write an entry in."""
        folder = self._writing / f"{socket.gethostname()}-{os.getpid()}-{next(_numbers)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A folder for the block, beside the entries, so that their files need not be copied. A later build removes it
        should this process be killed."""
        folder = self.begin()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, key: str) -> Path:
        """Makes a folder from `begin` the entry of ``key``; if another build was first, that one's stays."""
        if os.name == "posix":  # Windows would not even let them be removed
            for file in folder.iterdir():
                # Hard links share their content with every build folder: nobody may write into them.
                file.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        target = self.root / key
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(folder, ignore_errors=True)
        return target

    def discard(self, key: str) -> None:
        """Removes the entry of ``key``, which turned out to be damaged."""
        _remove(self.root / key, self._writing)

    def clean(self, limit: float | None = None) -> None:
        """Removes what builds that were killed left, and the entries used longest ago, down to the size allowed.

        Args:
            limit: that size in bytes; None for `allowed_bytes`.
        """
        for folder in self._writing.iterdir():
            if not _owner_lives(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
        entries = sorted((folder.stat().st_mtime, folder) for folder in self.root.iterdir() if folder != self._writing)
        sizes = {folder: _size(folder) for _, folder in entries}
        total, now = sum(sizes.values()), time.time()
        limit = allowed_bytes() if limit is None else limit
        for used, folder in entries:
            if total <= limit or now - used < _IN_USE:
                break
            _remove(folder, self._writing)
            total -= sizes[folder]


def allowed_bytes() -> float:
    """How large the store may become: SAM3PORT_CACHE_GIB.

    Raises:
        UsageError: it is no number.
    """
    value = os.environ.get(SIZE_VARIABLE, str(_DEFAULT_GIB))
    try:
        return float(value) * 2**30
    except ValueError:
        raise UsageError(f"{SIZE_VARIABLE} is {value!r}", "give a number, in GiB") from None


def link(source: Path, target: Path) -> None:
    """Makes ``target`` the same file as ``source``, or a copy where the file system cannot."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _remove(folder: Path, aside: Path) -> None:
    """Out of sight first, so that nobody finds half an entry."""
    moved = aside / f"{socket.gethostname()}-{os.getpid()}-{next(_numbers)}"
    with contextlib.suppress(OSError):
        folder.rename(moved)
        shutil.rmtree(moved, ignore_errors=True)


def _owner_lives(name: str) -> bool:
    import psutil

    host, pid, _ = name.rsplit("-", 2)
    return host != socket.gethostname() or bool(psutil.pid_exists(int(pid)))


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0
