"""What a side found, as its run leaves it for the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _no_boxes() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _nothing() -> NDArray[Any]:
    return np.zeros(0)


@dataclass(frozen=True)
class Found:
    """The answer to one prompt."""

    masks: NDArray[np.bool_]
    """(n, height, width), of the photograph."""
    scores: NDArray[np.float32]
    """(n,)."""
    queries: NDArray[np.int64]
    """(n,): which of the model's queries found the object. Of a click: which of its masks it is."""
    boxes: NDArray[np.float32] = field(default_factory=_no_boxes)
    """(n, 4): x0, y0, x1, y1, pixels; none of clicks."""
    logits: NDArray[Any] = field(default_factory=_nothing)
    """Of clicks, (n, mask_size, mask_size)."""
    threshold: float = float("nan")
    gap: float = float("nan")
    """Of upstream's scores, see `sam3port.verify.end_to_end.threshold`."""
    every_score: NDArray[np.float32] = field(default_factory=_nothing)
    """(queries,): of upstream's answer the scores of all queries, kept or not; none of clicks."""

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """As ``npz`` files hold it: a bit for each pixel."""
        return {
            "masks": np.packbits(self.masks, axis=None),
            "shape": np.array(self.masks.shape),
            "scores": self.scores,
            "queries": self.queries,
            "boxes": self.boxes,
            "logits": self.logits,
            "threshold": np.array(self.threshold),
            "gap": np.array(self.gap),
            "every_score": self.every_score,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Found:
        shape = tuple(int(side) for side in arrays["shape"])
        bits = np.unpackbits(arrays["masks"], count=int(np.prod(shape)))
        return cls(
            masks=bits.astype(np.bool_).reshape(shape),
            scores=arrays["scores"],
            queries=arrays["queries"],
            boxes=arrays["boxes"],
            logits=arrays["logits"],
            threshold=float(arrays["threshold"]),
            gap=float(arrays["gap"]),
            every_score=arrays["every_score"],
        )


def telling(masks: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,): whether each of (n, h, w) masks says something: it is neither empty nor all of the picture."""
    return np.asarray(masks.any((1, 2)) & ~masks.all((1, 2)))
