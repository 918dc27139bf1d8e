"""Small holes in masks filled, as upstream's interactive predictor does it before it enlarges them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

LARGEST: Final = 256
"""Pixels of the low-resolution mask (``max_hole_area``, sam1_task_predictor.py:27)."""
FILLED: Final = np.float32(10)
"""The logit that a filled pixel gets (sam1_utils.py:95)."""


def filled(logits: NDArray[np.float32], largest: int = LARGEST) -> NDArray[np.float32]:
    """Masks without small holes: pieces of background, connected by edges or corners, of up to ``largest`` pixels.

    As `SAM2Transforms.postprocess_masks` (sam3/model/utils/sam1_utils.py:75), also at the border of the picture.

    Args:
        logits: (n, h, w); a pixel above zero belongs to the object.

    Returns:
        a new array; holes are 10.
    """
    result = logits.copy()
    for mask in result:
        background = mask <= 0
        area = component_areas(background)
        mask[background & (area <= largest)] = FILLED
    return result


def component_areas(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each pixel the size of its connected component (of 8 neighbours), 0 where ``pixels`` is false.

    Args:
        pixels: (h, w).
    """
    height, width = pixels.shape
    edges = np.diff(np.pad(pixels, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    # Runs of pixels, in the order of rows; `first` and `end` within a row that is one wider, so that rows stay apart.
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    stride = width + 2
    first, end = rows * stride + starts, rows * stride + ends
    # The runs of the row above that touch run i: those that end at or after its start, and start at or before its end.
    low = np.searchsorted(end, first - stride, "left")
    high = np.searchsorted(first, end - stride, "right")
    count = np.maximum(high - low, 0)
    below = np.repeat(np.arange(len(first)), count)
    above = np.arange(len(below)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    label = _connected(len(first), above, below)
    area = np.bincount(label, weights=ends - starts, minlength=len(first)).astype(np.int64)[label]
    result = np.zeros(height * stride + 1, np.int64)
    np.add.at(result, first, area)
    np.add.at(result, end, -area)
    return np.cumsum(result)[:-1].reshape(height, stride)[:, :width]


def _connected(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest number in each node's component, for an undirected graph with these edges."""
    label = np.arange(count)
    while True:
        smaller = np.minimum(label[one], label[other])
        larger = np.maximum(label[one], label[other])
        if (smaller == larger).all():
            return label
        np.minimum.at(label, larger, smaller)
        while (label != (shorter := label[label])).any():
            label = shorter
