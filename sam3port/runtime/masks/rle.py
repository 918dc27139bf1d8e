"""Masks as COCO's run lengths, made of their outlines alone."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from sam3port.runtime.masks.region import Mask, Region, trimmed


class Rle(TypedDict):
    """COCO's compressed run lengths, as ``json`` can write and ``pycocotools.mask`` read them."""

    size: list[int]
    """Height and width of the picture."""
    counts: str


def encode(region: Region, height: int, width: int) -> Rle:
    """Of a mask in a picture of that size."""
    from pycocotools import mask

    counts = run_lengths(region, height, width)
    found: dict[str, Any] = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": found["counts"].decode("ascii")}


def decode(rle: Rle) -> Region:
    """The mask of compressed run lengths."""
    from pycocotools import mask

    pixels: Mask = mask.decode(rle).astype(np.bool_)
    return trimmed(pixels)


def run_lengths(region: Region, height: int, width: int) -> NDArray[np.int64]:
    """How many pixels do not belong to the mask, then how many do, and so on, down one column after the other."""
    inside = region.inside
    if not region:
        return np.array([height * width])
    differing = np.flatnonzero((inside[1:] != inside[:-1]).reshape(-1))  # much quicker than in two dimensions
    rows, columns = np.divmod(differing, inside.shape[1])
    first, last = np.flatnonzero(inside[0]), np.flatnonzero(inside[-1])
    # Where membership changes, as numbers of pixels in columns one after the other. A run that goes on from the end of
    # a column to the start of the next changes there twice, which is not at all.
    changes = np.concatenate(
        [
            (columns + region.left) * height + rows + 1 + region.top,
            (first + region.left) * height + region.top,
            (last + region.left) * height + region.bottom,
        ]
    )
    changes.sort()
    twice = np.flatnonzero(changes[1:] == changes[:-1])
    changes = np.delete(changes, np.concatenate([twice, twice + 1]))
    changes = changes[: np.searchsorted(changes, height * width)]
    return np.diff(changes, prepend=0, append=height * width)
