"""A contestant's process, seen from the contest."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam3port.children.child import Child
from sam3port.errors import Sam3PortError


class ContestantFailed(Sam3PortError):
    """It cannot do the work."""


class Process:
    """Waits for its turns until `end` or `kill`."""

    def __init__(self, module: str, request: Mapping[str, Any], folder: Path, threads: int) -> None:
        """Starts it and waits until it has done each of its works once.

        Args:
            module: what it executes.
            request: what it is told; ``out`` is added, a folder for its outputs.
            folder: for its files, made here.
            threads: that it computes with; told to the libraries that read an environment variable, too.

        Raises:
            ContestantFailed: it could not.
        """
        folder.mkdir(parents=True)
        self.out = folder
        file = folder / "request.json"
        file.write_text(
            json.dumps({**request, "out": str(folder), "threads": threads, "started": time.time()}), encoding="utf-8"
        )
        told = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TVM_NUM_THREADS"), str(threads))
        self._child = Child(module, str(file), environment=told)
        try:
            ready = self._event("ready")
        except BaseException:
            self.kill()
            raise
        self.opened_s: float = ready["opened_s"]
        self.first_s: dict[str, float] = ready["first_s"]
        self.flops: dict[str, int] = ready["flops"]

    def turn(self, work: str, at_least_s: float) -> list[float]:
        """Has a work done for at least so long, once at least; the seconds of each run.

        Raises:
            ContestantFailed: it could not.
        """
        self._child.send({"do": "run", "work": work, "at_least_s": at_least_s})
        seconds: list[float] = self._event("ran")["seconds"]
        return seconds

    def end(self) -> int:
        """Ends it; the most memory it had while it computed, bytes.

        Raises:
            ContestantFailed: it had ended before.
        """
        self._child.send({"do": "end"})
        peak = int(self._event("ended")["peak"])
        self._child.fate()
        self.kill()
        return peak

    def kill(self) -> None:
        """Ends it, whatever it is doing. May be called again."""
        self._child.end()

    def _event(self, expected: str) -> dict[str, Any]:
        event = self._child.event()
        if event is None:
            said = self._child.said()
            raise ContestantFailed(self._child.fate() + (f"; {said}" if said else ""))
        if event["event"] != expected:
            raise ContestantFailed(str(event.get("problem", f"said {event['event']} instead of {expected}")))
        return event
