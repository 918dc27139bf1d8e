"""Random tensors like those that a stage of SAM 3 sees, from a seed, in numpy only.

The sizes of the numbers were measured on seeded models (`sam3port.model.weights`): what comes out of a layer
normalisation has a standard deviation of 1, FPN features about 0.45 with neighbours alike, the encoder's memory about
1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.components.component import TensorSpec

if TYPE_CHECKING:
    from sam3port.model.preset import Preset

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

FEATURES: Final = 0.45
"""Standard deviation of what the neck returns."""


class Samples:
    """One stream of random numbers; what is asked for in the same order from the same seed is the same."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def normal(self, spec: TensorSpec, std: float = 1.0) -> Floats:
        """What a layer normalisation returns."""
        drawn: Floats = np.multiply(self.random.standard_normal(spec.shape, np.float32), std, dtype=np.float32)
        return drawn

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Floats:
        return self.random.uniform(low, high, shape).astype(np.float32)

    def map(self, spec: TensorSpec, std: float = FEATURES) -> Floats:
        """Features of an image, NCHW: half of the variance is common to neighbourhoods, half each position's own."""
        batch, channels, height, width = spec.shape
        coarse = self.random.standard_normal((batch, channels, -(-height // 4) + 1, -(-width // 4) + 1), np.float32)
        own = self.random.standard_normal(spec.shape, np.float32)
        shared = _stretch(_stretch(coarse, height, 2), width, 3)
        shared /= max(float(shared.std()), 1e-6)
        shared += own
        mixed: Floats = np.multiply(shared, std * 0.5**0.5, out=shared)
        return mixed

    def image(self, spec: TensorSpec) -> Floats:
        """Shapes of one colour on a smooth background with a little noise: edges, flat areas and texture. -1..1."""
        _, channels, height, width = spec.shape
        coarse = self.random.standard_normal((1, channels, 5, 5), np.float32)
        picture = _stretch(_stretch(coarse, height, 2), width, 3) * np.float32(0.5)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        for _ in range(6):
            cx, cy, rx, ry = self.random.uniform((0, 0, 0.05, 0.05), (1, 1, 0.3, 0.3))
            inside = ((x / width - cx) / rx) ** 2 + ((y / height - cy) / ry) ** 2 < 1
            picture[0, :, inside] = self.random.uniform(-1, 1, channels)
        picture += self.random.standard_normal(spec.shape, np.float32) * np.float32(0.05)
        clipped: Floats = np.clip(picture, -1, 1).astype(np.float32)
        return clipped

    def boxes(self, *shape: int) -> Floats:
        """Boxes inside the image as cxcywh, 0..1 of it; sides from 3 % to 70 %."""
        size = self.random.uniform(0.03, 0.7, (*shape, 2))
        centre = self.random.uniform(size / 2, 1 - size / 2)
        return np.concatenate([centre, size], -1).astype(np.float32)

    def masks(self, shape: tuple[int, ...]) -> Floats:
        """One ellipse in each (height, width): 1 inside, 0 outside."""
        found = np.zeros(shape, np.float32)
        y, x = np.mgrid[0 : shape[-2], 0 : shape[-1]]
        for mask in found.reshape(-1, *shape[-2:]):
            cx, cy, rx, ry = self.random.uniform((0.2, 0.2, 0.1, 0.1), (0.8, 0.8, 0.4, 0.4))
            mask[((x / shape[-1] - cx) / rx) ** 2 + ((y / shape[-2] - cy) / ry) ** 2 < 1] = 1
        return found

    def tokens(self, spec: TensorSpec, vocabulary: int) -> Labels:
        """A text of one to eight words' tokens in each row: start, words, end, zeros."""
        found = np.zeros(spec.shape, np.int64)
        for row in found:
            words = self.random.integers(256, vocabulary - 2, self.random.integers(1, 9))
            write_text(row, words, vocabulary)
        return found

    def prompt_mask(self, preset: Preset, shape: tuple[int, ...], geometry: int) -> Flags:
        """Padding of text (3 to 10 tokens) and of geometry: some points and boxes, then the CLS token, then padding.

        Args:
            geometry: how many of the last columns belong to geometry.
        """
        mask = np.ones(shape, np.bool_)
        for row in mask:
            row[: self.random.integers(3, min(11, preset.text_context + 1))] = False
            first = preset.text_context
            row[first : first + self.random.integers(1, geometry + 1)] = False
        return mask


def write_text(row: Labels, words: NDArray[np.int64] | list[int], vocabulary: int) -> None:
    """Start, words and end as upstream's tokeniser writes them (sam3/model/tokenizer_ve.py:249); the rest stays."""
    start, end = vocabulary - 2, vocabulary - 1
    words = list(words)[: len(row) - 2]
    row[: len(words) + 2] = [start, *words, end]


def sine_positions(channels: int, height: int, width: int) -> Floats:
    """Upstream's ``PositionEmbeddingSine(channels, normalize=True)`` of a map: (1, channels, height, width), -1..1.

    sam3/model/position_encoding.py:89. A test compares it with upstream's.
    """
    half = channels // 2
    steps = np.arange(half, dtype=np.float32)
    period = np.float32(10000) ** (2 * (steps // 2) / np.float32(half))

    def encode(count: int) -> Floats:
        place = np.arange(1, count + 1, dtype=np.float32)
        place = place / (place[-1] + np.float32(1e-6)) * np.float32(2 * np.pi)
        angle = place[:, None] / period
        return np.stack([np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])], -1).reshape(count, half).astype(np.float32)

    rows, columns = encode(height), encode(width)
    both = np.empty((1, channels, height, width), np.float32)
    both[0, :half] = rows.T[:, :, None]
    both[0, half:] = columns.T[:, None, :]
    return both


def _stretch(values: Floats, size: int, axis: int) -> Floats:
    """Linear interpolation of one axis to ``size`` elements."""
    place = np.linspace(0, values.shape[axis] - 1, size, dtype=np.float32)
    low = np.minimum(place.astype(np.int64), values.shape[axis] - 2)
    weight = (place - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    start = np.take(values, low, axis)
    stretched: Floats = start + (np.take(values, low + 1, axis) - start) * weight
    return stretched
