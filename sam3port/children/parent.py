"""Who started this process, as a child sees it."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any


class Parent:
    """The other end of a `sam3port.children.child.Child`: makes this process one that talks in lines of JSON.

    From now on standard output is where standard error is: what upstream, torch or TVM print must not get between the
    events. When the input ends, this process ends, also in the middle of its work, so that it never outlives its
    parent, however that one died.
    """

    def __init__(self) -> None:
        self._events = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._commands: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, event: str, **content: Any) -> None:
        """Says that something happened."""
        self._events.write(json.dumps({"event": event, **content}) + "\n")
        self._events.flush()

    def commands(self) -> Iterator[dict[str, Any]]:
        """What the parent says, one after the other, without end."""
        while True:
            yield self._commands.get()

    def _listen(self) -> None:
        # Not sys.stdin: Python cannot end while a thread waits inside it.
        rest = b""
        while read := os.read(0, 2**16):
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                self._commands.put(json.loads(line))
        os._exit(1)
