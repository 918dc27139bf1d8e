"""The worker processes of a build, seen from the build."""

from __future__ import annotations

import queue
import threading
from typing import IO, Any, Final

from sam3port.children.child import Child

MODULE: Final = "sam3port.build.worker"


class Worker(Child):
    """One process. Does one job at a time; its events come through a queue that all workers share."""

    def __init__(self, events: queue.Queue[tuple[Worker, dict[str, Any] | None]], log: IO[bytes]) -> None:
        """Starts it.

        Args:
            events: gets ``(worker, event)``, and ``(worker, None)`` when the process has ended.
            log: what it prints goes there.
        """
        super().__init__(MODULE, log=log)
        self.busy_with: str | None = None
        self._heard_by = events
        threading.Thread(target=self._hear, daemon=True).start()

    def give(self, job: dict[str, Any], name: str) -> None:
        """Gives it a job. ``name`` is for `busy_with`."""
        self.busy_with = name
        self.send(job)

    def obituary(self) -> str:
        """How it ended, and the last that was printed, for people."""
        said = self.said(lines=3)
        return self.fate() + (f"; the last it said: {said}" if said else "")

    def _hear(self) -> None:
        for event in self.events():
            self._heard_by.put((self, event))
        self._heard_by.put((self, None))
