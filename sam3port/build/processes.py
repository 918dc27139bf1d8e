"""The worker processes of a build, seen from the build."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import threading
from pathlib import Path
from typing import IO, Any, Final

from sam3port import children

MODULE: Final = "sam3port.build.worker"

Events = "queue.Queue[tuple[Worker, dict[str, Any] | None]]"


class Worker:
    """One process. Does one job at a time; its events come through a queue that all workers share."""

    def __init__(self, events: queue.Queue[tuple[Worker, dict[str, Any] | None]], log: IO[bytes]) -> None:
        """Starts it.

        Args:
            events: gets ``(worker, event)``, and ``(worker, None)`` when the process has ended.
            log: what it prints goes there.
        """
        self.busy_with: str | None = None
        self.peak = 0
        """The most memory it has used, bytes."""
        self._process = children.start(MODULE, log=log)
        self._events = events
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, job: dict[str, Any], name: str) -> None:
        """Gives it a job. ``name`` is for `busy_with`."""
        assert self._process.stdin is not None
        self.busy_with = name
        with contextlib.suppress(OSError):  # it died: the end of its events says so
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()

    def memory(self) -> int:
        """What it uses now, bytes; 0 when it has ended."""
        import psutil

        try:
            used = int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0
        self.peak = max(self.peak, used)
        return used

    def end(self) -> None:
        """Ends it, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def fate(self) -> str:
        """How it ended, for people."""
        status = self._process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            hint = ", which is also how the system ends a process when memory runs out" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{hint}"
        return f"its process ended with status {status}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed by `end`
            for line in self._process.stdout:
                self._events.put((self, json.loads(line)))
        self._events.put((self, None))


def last_lines(log: Path, count: int = 3) -> str:
    """The end of what workers printed."""
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return " / ".join(lines[-count:])
