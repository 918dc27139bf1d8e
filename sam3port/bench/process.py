"""A contestant's process, seen from the contest."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam3port import children
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
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (kept open)
        number = str(threads)
        self._process = children.start(
            module,
            str(file),
            log=self._log,
            environment={"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number, "TVM_NUM_THREADS": number},
        )
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
        self._send(do="run", work=work, at_least_s=at_least_s)
        seconds: list[float] = self._event("ran")["seconds"]
        return seconds

    def end(self) -> int:
        """Ends it; the most memory it had while it computed, bytes.

        Raises:
            ContestantFailed: it had ended before.
        """
        self._send(do="end")
        peak = int(self._event("ended")["peak"])
        self._process.wait()
        self.kill()
        return peak

    def kill(self) -> None:
        """Ends it, whatever it is doing. May be called again."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it died: the missing answer says so
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def _event(self, expected: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == expected:
                return event
            raise ContestantFailed(str(event.get("problem", f"said {event['event']} instead of {expected}")))
        status = self._process.wait()
        fate = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self._log.seek(0)
        lines = [text.strip() for text in self._log.read().splitlines() if text.strip()]
        raise ContestantFailed(f"its process {fate}" + (f"; {lines[-1]}" if lines else ""))
