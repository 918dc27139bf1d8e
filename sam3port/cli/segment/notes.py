"""What libraries warn of while several threads work: whose thread it was says which picture it is about."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import TextIO


class Notes:
    """Warnings for users (`UserWarning` itself), by thread; `collected` makes one."""

    def __init__(self) -> None:
        self._of: dict[int, list[str]] = {}

    def take(self) -> list[str]:
        """Those of this thread since the last time."""
        return self._of.pop(threading.get_ident(), [])

    def add(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """As `warnings.showwarning`."""
        if category is UserWarning:
            self._of.setdefault(threading.get_ident(), []).append(str(message))


@contextlib.contextmanager
def collected() -> Iterator[Notes]:
    """Collects what is warned of in the block; nothing of it is printed."""
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = notes.add
        yield notes
