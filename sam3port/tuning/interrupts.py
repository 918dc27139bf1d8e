"""Ctrl-C while TVM calls back into Python."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """An interrupt (SIGINT) is raised when the block is left, not within it.

    MetaSchedule's builder and runners are Python that TVM's C++ calls: a KeyboardInterrupt comes out of it as a
    RuntimeError without a message. In other threads than the main one, which get no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
