"""One run at a time writes into a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from sam3port.errors import UsageError

LOCK: Final = ".segment.lock"


@contextlib.contextmanager
def only_run(folder: Path, writing: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """No other run writes into ``folder`` within the block. Made if absent; goes if it stays empty.

    Args:
        folder: for the run's files.
        writing: a block that turns what the file system refuses into an error for people.

    Raises:
        UsageError: another run is using it; or what ``writing`` raises.
    """
    import filelock

    made = not folder.exists()
    with writing():
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:  # an OSError, too
            raise UsageError(f"another run is writing into {folder}", "wait for it, or choose another --out") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # held: whoever comes now makes another one
            if made:
                folder.rmdir()  # it stays if there is anything in it
        lock.release()
