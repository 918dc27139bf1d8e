"""Large pictures in overlapping tiles, each at the model's full resolution; objects go on across the seams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sam3port.errors import UsageError
from sam3port.runtime.masks.region import NOTHING, Region

SAME: Final = 0.5
"""IoU of two masks within the overlap of their tiles, from which on they are one object."""


@dataclass(frozen=True)
class Tile:
    """A part of a picture."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, eq=False)
class Piece:
    """What was found in one tile."""

    tile: Tile
    region: Region
    """In the whole picture."""
    box: NDArray[np.float32]
    """x0, y0, x1, y1 in the whole picture."""
    score: float
    query: int
    asked: int
    """The index of the text."""


def tiles(height: int, width: int, side: int, overlap: int) -> Iterator[Tile]:
    """Tiles that cover a picture; those at the right and lower border begin earlier instead of being smaller.

    Args:
        height: of the picture, pixels, as ``width``.
        side: of a tile, pixels.
        overlap: of neighbours, at least.

    Raises:
        UsageError: the overlap is not smaller than the tile.
    """
    if side < 1 or not 0 <= overlap < side:
        raise UsageError(f"tiles of {side} pixels cannot overlap by {overlap}", "give a smaller overlap, 128 of 1008")
    for top in _starts(height, side, overlap):
        for left in _starts(width, side, overlap):
            yield Tile(left, top, min(left + side, width), min(top + side, height))


def merged(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one object put together: those of one text whose masks are the same where their tiles overlap.

    The object has the score of its best piece, and all of their pixels. In the order of the first piece of each.
    """
    parent = list(range(len(pieces)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index, piece in enumerate(pieces):
        for other in range(index):
            if piece.asked == pieces[other].asked and _same(piece, pieces[other]):
                parent[max(root(index), root(other))] = min(root(index), root(other))
    groups: dict[int, list[Piece]] = {}
    for index, piece in enumerate(pieces):
        groups.setdefault(root(index), []).append(piece)
    return [_joined(group) for group in groups.values()]


def shifted(region: Region, left: int, top: int) -> Region:
    """The region of a tile in the whole picture."""
    return Region(region.left + left, region.top + top, region.inside) if region else NOTHING


def _starts(length: int, side: int, overlap: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [min(number * (side - overlap), length - side) for number in range(count)]


def _same(one: Piece, other: Piece) -> bool:
    a, b, s, t = one.region, other.region, one.tile, other.tile
    if s == t or a.left >= b.right or b.left >= a.right or a.top >= b.bottom or b.top >= a.bottom:
        return False
    common = Tile(max(s.left, t.left), max(s.top, t.top), min(s.right, t.right), min(s.bottom, t.bottom))
    if common.left >= common.right or common.top >= common.bottom:
        return False
    first, second = _within(a, common), _within(b, common)
    union = int(np.count_nonzero(first | second))
    return union > 0 and int(np.count_nonzero(first & second)) > SAME * union


def _within(region: Region, tile: Tile) -> NDArray[np.bool_]:
    """A region's mask in a part of the picture."""
    mask = np.zeros((tile.bottom - tile.top, tile.right - tile.left), np.bool_)
    left, right = max(region.left, tile.left), min(region.right, tile.right)
    top, bottom = max(region.top, tile.top), min(region.bottom, tile.bottom)
    if left < right and top < bottom:
        part = region.inside[top - region.top : bottom - region.top, left - region.left : right - region.left]
        mask[top - tile.top : bottom - tile.top, left - tile.left : right - tile.left] = part
    return mask


def _joined(group: list[Piece]) -> Piece:
    if len(group) == 1:
        return group[0]
    best = max(group, key=lambda piece: piece.score)
    regions = [piece.region for piece in group]
    left, top = min(each.left for each in regions), min(each.top for each in regions)
    inside = np.zeros(
        (max(each.bottom for each in regions) - top, max(each.right for each in regions) - left), np.bool_
    )
    for each in regions:
        inside[each.top - top : each.bottom - top, each.left - left : each.right - left] |= each.inside
    boxes = np.stack([piece.box for piece in group])
    box = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
    return Piece(best.tile, Region(left, top, inside), box, best.score, best.query, best.asked)
