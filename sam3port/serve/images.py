"""The pictures that a server keeps, and what is known of each."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Final, Literal

from sam3port.errors import Sam3PortError
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.picture import Pixels
from sam3port.serve.refusal import Refusal

State = Literal["queued", "encoding", "ready", "failed"]

_ALMOST: Final = 0.95


class KeptImage:
    """A picture on its way to be encoded, or there."""

    def __init__(self, name: str, pixels: Pixels, cost: int) -> None:
        self.id = secrets.token_urlsafe(12)
        """Cannot be guessed: who does not know it cannot ask about the picture."""
        self.name = name
        self.height, self.width = int(pixels.shape[0]), int(pixels.shape[1])
        self.pixels: Pixels | None = pixels
        """(height, width, 3) RGB, until it is forgotten."""
        self.cost = cost
        """Bytes that it takes, what the image encoder makes of it included."""
        self.state: State = "queued"
        self.encoded: EncodedImage | None = None
        self.error: Sam3PortError | None = None
        self.job: Future[None] | None = None
        self.began = 0.0
        """When its encoding began, `time.monotonic`."""

    def forget(self) -> None:
        """Frees its memory, also if it waits in a queue."""
        self.pixels = self.encoded = None
        if self.job is not None:
            self.job.cancel()

    @property
    def settled(self) -> bool:
        """Nothing is to be done for it any more."""
        return self.state in {"ready", "failed"}

    def progress(self, expected: float | None) -> float | None:
        """0..1: how much of its encoding is done, if that takes ``expected`` seconds; None where it cannot be told."""
        if self.state == "ready":
            return 1.0
        if self.state == "queued":
            return 0.0
        if self.state == "failed" or not expected:
            return None
        return min((time.monotonic() - self.began) / expected, _ALMOST)


class Images:
    """Pictures by their ids, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory = memory_bytes
        self._kept: OrderedDict[str, KeptImage] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def add(self, image: KeptImage) -> None:
        """Keeps a picture; those that were used least recently make room for it.

        Raises:
            Refusal: there is no room, because pictures wait to be encoded; none is dropped then.
        """
        with self._lock:
            settled = [kept for kept in self._kept.values() if kept.settled]
            free = self._memory - sum(kept.cost for kept in self._kept.values()) - image.cost
            dropped: list[KeptImage] = []
            while free < 0 and settled:
                dropped.append(settled.pop(0))
                free += dropped[-1].cost
            if free < 0 and len(dropped) < len(self._kept):  # a picture that is larger than all room is kept alone
                raise Refusal(503, "no room is left: other pictures wait to be encoded", "try again later", 5)
            for kept in dropped:
                del self._kept[kept.id]
            self._kept[image.id] = image

    def get(self, name: str) -> KeptImage:
        """The picture with that id, which counts as used now.

        Raises:
            Refusal: there is none.
        """
        with self._lock:
            if name not in self._kept:
                raise Refusal(404, "there is no such picture: it was dropped, or never here", "send it again")
            self._kept.move_to_end(name)
            return self._kept[name]

    def drop(self, name: str) -> None:
        """Forgets a picture; it is taken from the queue.

        Raises:
            Refusal: there is none.
        """
        image = self.get(name)
        with self._lock:
            self._kept.pop(name, None)
        image.forget()

    def as_json(self) -> dict[str, Any]:
        """Of numbers."""
        with self._lock:
            return {"images": len(self._kept), "bytes": sum(kept.cost for kept in self._kept.values())}
