"""The one thread that uses the model: prompts first, then pictures, each in the order in which they came."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

PROMPT: Final = 0
PICTURE: Final = 1
_END: Final = -1

_Result = TypeVar("_Result")


class Worker:
    """Runs what it is given, one after the other. Safe to use from several threads."""

    def __init__(self) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, Future[Any] | None, Callable[[], Any]]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._waiting: dict[int, dict[int, Future[Any]]] = {PROMPT: {}, PICTURE: {}}
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sam3port-serve")
        self._thread.start()

    def submit(self, kind: int, work: Callable[[], _Result]) -> Future[_Result]:
        """Puts work into the queue; cancelling the future takes it out again as long as it has not begun.

        Args:
            kind: `PROMPT` or `PICTURE`.
            work: runs in the worker's thread.
        """
        future: Future[_Result] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker is closed")
            number = next(self._numbers)
            self._waiting[kind][number] = future
            self._jobs.put((kind, number, future, work))
        future.add_done_callback(lambda _future: self._forget(kind, number))
        return future

    def waiting(self, kind: int) -> int:
        """How many of that kind have not begun."""
        with self._lock:
            return len(self._waiting[kind])

    def place(self, kind: int, future: Future[Any]) -> int | None:
        """1 for what is next of its kind; None for what has begun, or is done."""
        with self._lock:
            for place, waiting in enumerate(self._waiting[kind].values(), 1):
                if waiting is future:
                    return place
        return None

    def close(self) -> None:
        """Drops what waits, lets what runs come to its end, and ends the thread."""
        with self._lock:
            self._closed = True
            left = [future for waiting in self._waiting.values() for future in waiting.values()]
            self._jobs.put((_END, 0, None, lambda: None))
        for future in left:
            future.cancel()
        self._thread.join()

    def _forget(self, kind: int, number: int) -> None:
        with self._lock:
            self._waiting[kind].pop(number, None)

    def _run(self) -> None:
        while True:
            kind, number, future, work = self._jobs.get()
            if future is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            self._forget(kind, number)
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, work  # until the next job comes, they would keep a picture alive
            result = None
