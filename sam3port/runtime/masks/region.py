"""A mask, kept only where it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""(height, width): true where the object is."""


@dataclass(frozen=True, eq=False)
class Region:
    """A mask within its bounding box: nothing of it lies outside, and every side of the box touches it."""

    left: int
    """Pixels from the picture's left border to the box, as ``top`` from the upper one."""
    top: int
    inside: Mask
    """(height, width) of the box; (0, 0) if the mask is empty."""

    @property
    def right(self) -> int:
        """One after the last column."""
        return self.left + int(self.inside.shape[1])

    @property
    def bottom(self) -> int:
        """One after the last row."""
        return self.top + int(self.inside.shape[0])

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.inside))

    def __bool__(self) -> bool:
        return self.inside.size > 0

    def mask(self, height: int, width: int) -> Mask:
        """(height, width): the mask in a picture of that size."""
        whole = np.zeros((height, width), np.bool_)
        whole[self.top : self.bottom, self.left : self.right] = self.inside
        return whole


NOTHING: Final = Region(0, 0, np.zeros((0, 0), np.bool_))
"""Of an empty mask."""


class Masks(Protocol):
    """The masks of a picture's objects, each made when it is asked for."""

    @property
    def height(self) -> int:
        """Of the picture, pixels, as ``width``."""

    @property
    def width(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Region: ...

    def take(self, indices: Sequence[int]) -> Masks:
        """Those masks, in that order."""


@dataclass(frozen=True, eq=False)
class Known:
    """Masks that are there already."""

    regions: tuple[Region, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.regions)

    def __getitem__(self, index: int, /) -> Region:
        return self.regions[index]

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    def take(self, indices: Sequence[int]) -> Known:
        return Known(tuple(self.regions[index] for index in indices), self.height, self.width)


def known(masks: Mask) -> Known:
    """Of an array (n, height, width)."""
    return Known(tuple(map(trimmed, masks)), masks.shape[1], masks.shape[2])


def trimmed(mask: Mask, left: int = 0, top: int = 0) -> Region:
    """A mask cut to its bounding box.

    Args:
        mask: (height, width) of the picture, or of a part of it.
        left: where that part lies in the picture, as ``top``.
    """
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return NOTHING
    first, last = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[first:last].any(0))
    start, end = int(columns[0]), int(columns[-1]) + 1
    return Region(left + start, top + first, mask[first:last, start:end])


def boxes_of(masks: Masks) -> NDArray[np.float32]:
    """(n, 4): x0, y0, x1, y1 of masks in pixels; zeros for an empty one."""
    regions = (masks[index] for index in range(len(masks)))
    corners = [(each.left, each.top, each.right, each.bottom) for each in regions]
    return np.array(corners, np.float32).reshape(-1, 4)


def stacked(masks: Masks) -> Mask:
    """(n, height, width): all of them at once."""
    every = np.zeros((len(masks), masks.height, masks.width), np.bool_)
    for index in range(len(masks)):
        region = masks[index]
        every[index, region.top : region.bottom, region.left : region.right] = region.inside
    return every
