"""Pictures to the model's square input, as PyTorch computes it, in numpy.

PyTorch's resize of uint8 rounds its weights to 16 bits and its result after each of two passes, so Pillow's (22 bits)
differs by a level or two in up to 3 % of the values. Here every value is upstream's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 16
"""Output pixels at once: their windows overlap so much that one dense product of all their weights is quickest."""


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear with antialias: `torchvision.transforms.v2.Resize` on a uint8 tensor on a CPU.

    Like PyTorch's upsample_bilinear2d_aa on uint8: first each row, then each column, rounded to uint8 after each.

    Args:
        picture: (h, w, channels).

    Returns:
        (height, width, channels).
    """
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    planes = _resize_last(planes, width)
    planes = _resize_last(np.ascontiguousarray(planes.transpose(0, 2, 1)), height)
    return np.ascontiguousarray(planes.transpose(2, 1, 0))


def _resize_last(planes: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The last axis at another size."""
    *others, length = planes.shape
    if length == size:
        return planes
    first, weights, precision = _integer_weights(length, size)
    rows = planes.reshape(-1, length)
    result = np.empty((len(rows), size), np.uint8)
    for start in range(0, size, _BLOCK):
        block = slice(start, min(start + _BLOCK, size))
        left = int(first[block].min())
        window = rows[:, left : int(first[block].max()) + weights.shape[1]]
        dense = np.zeros((window.shape[1], block.stop - start))
        for column in range(block.stop - start):
            offset = int(first[start + column]) - left
            taps = min(weights.shape[1], len(dense) - offset)  # further taps weigh nothing
            dense[offset : offset + taps, column] = weights[start + column, :taps]
        # Integers below 2**31 in float64: exact, and multiplied by BLAS.
        total = window.astype(np.float64) @ dense
        total += 2.0 ** (precision - 1)
        total *= 2.0**-precision
        result[:, block] = np.minimum(np.floor(total, out=total), 255, out=total)
    return result.reshape(*others, size)


def _integer_weights(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """For each output: the first input pixel, and the weights of that and the next ones.

    Returns:
        (size,) first pixels; (size, taps) weights, whole numbers; the power of two that they add up to.
    """
    scale = length / size
    support = max(scale, 1.0)
    taps = int(np.ceil(support)) * 2 + 1
    centre = scale * (np.arange(size) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + support + 0.5).astype(np.int64), length) - first
    tap = np.arange(taps)
    distance = np.abs((tap + first[:, None] - centre[:, None] + 0.5) / support)
    weights = np.where(tap < np.clip(count, 0, taps)[:, None], np.maximum(1.0 - distance, 0.0), 0.0)
    weights /= weights.sum(1, keepdims=True)
    largest = float(weights.max())
    precision = next((p for p in range(22) if int(0.5 + largest * 2 ** (p + 1)) >= 2**15), 22)
    return first, np.floor(0.5 + weights * 2.0**precision), precision
