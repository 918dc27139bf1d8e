"""Pictures to the model's square input, as PyTorch computes it, in numpy.

PyTorch's resize of uint8 rounds its weights to 16 bits and its result after each of two passes, so Pillow's (22 bits)
differs by a level or two in up to 3 % of the values. Here every value is upstream's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_WINDOW: Final = 2**16
"""Values at once: what fits a CPU's cache as float64."""


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear with antialias: `torchvision.transforms.v2.Resize` on a uint8 tensor on a CPU.

    Like PyTorch's upsample_bilinear2d_aa on uint8: first each row, then each column, rounded to uint8 after each.

    Args:
        picture: (h, w, channels).

    Returns:
        (height, width, channels).
    """
    columns = _resize_first(np.ascontiguousarray(picture.transpose(1, 0, 2)), width)
    return _resize_first(np.ascontiguousarray(columns.transpose(1, 0, 2)), height)


def _resize_first(lines: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The first axis at another size: each line a sum of some that lie together, which fit a CPU's cache."""
    length, *others = lines.shape
    if length == size:
        return lines
    first, weights, precision = _integer_weights(length, size)
    flat = lines.reshape(length, -1)
    result = np.empty((size, flat.shape[1]), np.uint8)
    step = max(1, _WINDOW // weights.shape[1])
    for left in range(0, flat.shape[1], step):
        part = slice(left, left + step)
        for index, (start, taps) in enumerate(zip(first.tolist(), weights, strict=True)):
            window = flat[start : start + len(taps), part]  # further taps weigh nothing
            # Integers below 2**31 in float64: exact, and multiplied by BLAS.
            total = taps[: len(window)] @ window.astype(np.float64)
            total += 2.0 ** (precision - 1)
            total *= 2.0**-precision
            np.floor(total, out=total)
            result[index, part] = np.minimum(total, 255, out=total)
    return result.reshape(size, *others)


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
