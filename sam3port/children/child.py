"""A process that does what it is told and says what it does, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sam3port.children.starting import start


class Child:
    """One process. Commands go in and events come out as lines of JSON; what else it prints goes to a log.

    Ctrl-C in a terminal does not reach it: who makes it ends it, with `end`. When its parent dies, its input ends, and
    so does it (`sam3port.children.parent`).
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        log: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        interpreter: Sequence[str] = (),
    ) -> None:
        """Starts it.

        Args:
            module: what it executes, which makes a `sam3port.children.parent.Parent`.
            arguments: of its command line.
            log: gets what it prints; several children may share one, which stays open. Without one it has its own.
            environment: what differs from this process's environment.
            interpreter: another Python than this one, as for `sam3port.children.starting.start`.

        Raises:
            CannotStart: there is no process.
        """
        self._own_log: IO[bytes] | None = None
        if log is None:
            log = self._own_log = tempfile.TemporaryFile()  # noqa: SIM115 (kept open)
        self._log = log
        try:
            self._process = start(module, *arguments, log=log, environment=environment, interpreter=interpreter)
        except BaseException:
            self._close()
            raise
        self.peak = 0
        """The most memory that `memory` has seen, bytes."""

    def send(self, command: Mapping[str, Any]) -> None:
        """Tells it something. To one that has died this does nothing: the end of its events says so."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def event(self) -> dict[str, Any] | None:
        """The next thing that it says, waited for; None when it says nothing more, because it has ended."""
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed by `end` in another thread
            if line := self._process.stdout.readline():
                event: dict[str, Any] = json.loads(line)
                return event
        return None

    def events(self) -> Iterator[dict[str, Any]]:
        """All that it says until it ends."""
        while (event := self.event()) is not None:
            yield event

    def memory(self) -> int:
        """What it uses now, bytes; 0 when it has ended."""
        import psutil

        try:
            used = int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0
        self.peak = max(self.peak, used)
        return used

    @property
    def status(self) -> int:
        """How it ended, which is waited for: its exit status, or the negative number of a signal."""
        return self._process.wait()

    def fate(self) -> str:
        """How it ended, which is waited for, for people."""
        if self.status >= 0:
            return f"its process ended with status {self.status}"
        name = signal.Signals(-self.status).name
        hint = ", which is also how the system ends a process when memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"

    def printed(self) -> int:
        """How long the log is, bytes."""
        return os.fstat(self._log.fileno()).st_size

    def said(self, since: int = 0, lines: int = 1) -> str:
        """The last ``lines`` that are in the log after ``since`` bytes: below a traceback stands what is wrong."""
        if self._own_log is not None:
            self._own_log.seek(since)
            text = self._own_log.read()  # and is at the end again, where the child goes on
        else:
            with Path(self._log.name).open(
                "rb"
            ) as again:  # others print meanwhile, and share the place in the open file
                again.seek(since)
                text = again.read()
        found = [line.strip() for line in text.decode("utf-8", errors="replace").splitlines() if line.strip()]
        return " / ".join(found[-lines:])

    def kill(self) -> None:
        """Ends it, whatever it is doing; its last events and its log can still be read. Any thread may call it."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def end(self) -> None:
        """Ends it and gives back all that it had. May be called again."""
        self.kill()
        self._process.wait()
        self._close(self._process.stdin, self._process.stdout)

    def _close(self, *streams: IO[str] | None) -> None:
        for stream in (*streams, self._own_log):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
