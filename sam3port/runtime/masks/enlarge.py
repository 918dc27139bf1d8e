"""Mask logits at the picture's size, as PyTorch enlarges them, computed only where the answer is not known before.

Bilinear weights are not negative and add up to one, so between neighbours of one sign the sign is theirs. What is left
to compute is the neighbourhood of outlines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.runtime.masks.region import NOTHING, Mask, Region, trimmed

_MOSTLY: Final = 0.3
"""Of a row's pixels: from this part on it is quicker to compute all than to pick some."""


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Masks made of logits: where these, resized bilinearly (align_corners=False, no antialias), are above a threshold.

    As `Sam3Processor._forward_grounding` (sam3_image_processor.py:203) and `SAM2Transforms.postprocess_masks`
    (sam1_utils.py:114) do it: in float32, first along each row, then along each column.
    """

    logits: NDArray[np.float32]
    """(n, h, w)."""
    height: int
    """Of the picture, pixels."""
    width: int
    threshold: float = 0.0
    """Pixels with a logit above it belong to the object."""

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, index: int, /) -> Region:
        logits = self.logits[index] - np.float32(self.threshold)
        above = logits > 0
        rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
        if not len(rows):
            return NOTHING
        down = _neighbours(logits.shape[0], self.height).reached(int(rows[0]), int(rows[-1]))
        along = _neighbours(logits.shape[1], self.width).reached(int(columns[0]), int(columns[-1]))
        if not len(down.weight) or not len(along.weight):  # a small picture, whose pixels lie between these logits
            return NOTHING
        return trimmed(_positive(logits, down, along), along.first, down.first)

    def take(self, indices: Sequence[int]) -> Enlarged:
        """Those masks, in that order."""
        return Enlarged(self.logits[list(indices)], self.height, self.width, self.threshold)


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """For each of some pixels in a row: the two logits that it lies between, and the second one's weight."""

    first: int
    """The first of these pixels."""
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    weight: NDArray[Any]

    def reached(self, low: int, high: int) -> _Neighbours:
        """Those that the logits ``low`` to ``high`` have a part in."""
        start = int(np.searchsorted(self.after, low))
        part = slice(start, int(np.searchsorted(self.before, high, "right")))
        return _Neighbours(self.first + start, self.before[part], self.after[part], self.weight[part])


def _neighbours(length: int, size: int) -> _Neighbours:
    scale = np.float32(length) / np.float32(size)
    place = np.maximum(scale * (np.arange(size, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    before = np.minimum(place.astype(np.int64), length - 1)
    return _Neighbours(0, before, np.minimum(before + 1, length - 1), place - before.astype(np.float32))


def _positive(logits: NDArray[np.float32], down: _Neighbours, along: _Neighbours) -> Mask:
    """Where the enlarged logits are above zero."""
    wide = logits[:, along.before] * (1 - along.weight) + logits[:, along.after] * along.weight
    above = wide > 0
    mask = np.empty((len(down.before), wide.shape[1]), np.bool_)
    # Rows of pixels between the same two rows of logits follow each other.
    starts = np.flatnonzero(np.diff(down.before, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(mask)], strict=True):
        one, other = down.before[start], down.after[start]
        mask[start:end] = above[one]
        mixed = np.flatnonzero(above[one] != above[other])
        if len(mixed):
            columns = slice(None) if len(mixed) > _MOSTLY * len(above[one]) else mixed
            weight = down.weight[start:end, None]
            mask[start:end, columns] = wide[one, columns] * (1 - weight) + wide[other, columns] * weight > 0
    return mask
