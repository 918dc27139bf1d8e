"""Label Studio's regions: what it shows and lets people correct. Places are percents of the picture's sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.runtime.masks.polygons import Ring
from sam3port.runtime.masks.region import Mask

_CHANNELS: Final = 4
"""A brush is drawn in red, green, blue and alpha, which are all 255 where the object is."""
_SIZES: Final = (3, 4, 8, 16)
"""Bits of the length of a run, of which each run says which it has."""
_WORD: Final = 8


def polygon(ring: Ring, label: str, width: int, height: int) -> dict[str, Any]:
    """A piece of an object: its kind and value, for ``PolygonLabels``."""
    percent = np.round(ring * 100 / np.array([width, height]), 4).tolist()
    return _region("polygonlabels", label, {"points": percent, "closed": True})


def rectangle(box: list[float], label: str, width: int, height: int) -> dict[str, Any]:
    """A box (x, y, width, height in pixels), for ``RectangleLabels``."""
    x, y, across, down = (100 * value / size for value, size in zip(box, (width, height) * 2, strict=True))
    return _region("rectanglelabels", label, {"x": x, "y": y, "width": across, "height": down, "rotation": 0})


def brush(mask: Mask, label: str) -> dict[str, Any]:
    """A mask (height, width), for ``BrushLabels``."""
    return _region("brushlabels", label, {"format": "rle", "rle": brush_runs(mask)})


def brush_runs(mask: Mask) -> list[int]:
    """Label Studio's own run lengths, those of the library rle-pack, as bytes.

    A stream of bits: how many values there are (32), the bits of a value less one (5), the four sizes that lengths may
    have, less one (4 each). Then each run: 1, which size its length has (2), the length less one, the value.
    """
    values = mask.reshape(-1)
    bits = [f"{values.size * _CHANNELS:032b}{_WORD - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for length, inside in _runs(values):
        while length:
            now = min(length, 1 << _SIZES[-1])
            kind = next(index for index, size in enumerate(_SIZES) if now <= 1 << size)
            bits.append(f"1{kind:02b}{now - 1:0{_SIZES[kind]}b}{255 * inside:08b}")
            length -= now
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))


def _runs(values: NDArray[np.bool_]) -> Iterator[tuple[int, bool]]:
    """How many channels one after the other are alike, and whether they belong to the object; row by row."""
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [values.size]])
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        yield (end - start) * _CHANNELS, bool(values[start])


def _region(kind: str, label: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "value": {**value, kind: [label]}}
