"""Masks as polygons along the borders of their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sam3port.runtime.masks.region import Mask, Region

Ring = NDArray[np.float64]
"""(n, 2): x, y of corners in pixels of the picture, not closed: the last is connected with the first."""

_FEWEST: Final = 4
"""Corners of a ring; one that has fewer when it is simplified stays as it is."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """One piece of a mask: pixels that are connected by their edges."""

    outer: Ring
    """Clockwise as a picture is shown (y points down)."""
    holes: tuple[Ring, ...]
    """Counterclockwise."""

    def joined(self) -> Ring:
        """One ring that goes round all: to each hole and back along one line, for formats that know no holes."""
        return bridged([self.outer, *sorted(self.holes, key=lambda hole: float(hole[:, 0].min()))])


def bridged(rings: Sequence[Ring]) -> Ring:
    """Rings as one, with a line there and back to each from the nearest corner of those before it."""
    ring, *others = rings
    for other in others:
        start = int(np.argmin(other[:, 0]))
        turned = np.roll(other, -start, 0)
        nearest = int(np.argmin(((ring - turned[0]) ** 2).sum(1)))
        ring = np.concatenate([ring[: nearest + 1], turned, turned[:1], ring[nearest:]])
    return ring


def polygons(region: Region, tolerance: float = 1.0) -> list[Polygon]:
    """The outlines of a mask, piece by piece, from the top.

    Args:
        region: the mask.
        tolerance: pixels that an outline may be off, to have fewer corners. With 0 it is exact.
    """
    if not region:
        return []
    offset = np.array([region.left, region.top], np.float64)
    found: dict[int, list[Ring]] = {}
    for loop, piece in _loops(region.inside):
        ring = loop.astype(np.float64)
        found.setdefault(piece, []).append(_simplified(ring, tolerance) + offset)
    return [Polygon(outer, tuple(holes)) for outer, *holes in found.values()]


def _loops(inside: Mask) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Corners x, y of each outline, and the number of the piece that it belongs to; a piece's outer one comes first.

    Corners between pixels pair up along each row of corners, and along each column: they are the ends of an edge.
    """
    padded = np.pad(inside, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    touching = (nw == se) & (ne == sw) & (nw != ne)  # two pixels that share a corner only: it is a corner of both
    y, x = np.nonzero((nw ^ ne ^ sw ^ se) | touching)
    double = touching[y, x]
    copies = 1 + double
    second = np.zeros(int(copies.sum()), np.bool_)
    second[(np.cumsum(copies) - 1)[double]] = True
    falling = np.repeat(nw[y, x], copies)  # of a double corner: the pixels are northwest and southeast
    y, x, double = np.repeat(y, copies), np.repeat(x, copies), np.repeat(double, copies)
    # The first of a double corner ends the edge from the left, the second begins the one to the right. Which of them
    # has the edge upwards is decided so that the two pixels stay apart.
    lower = np.where(double & ~falling, ~second, second)
    along_columns = np.lexsort((lower, y, x))
    vertical = np.empty(len(x), np.int64)
    vertical[along_columns[0::2]], vertical[along_columns[1::2]] = along_columns[1::2], along_columns[0::2]
    keys = (x * (len(padded) + 1) + y)[along_columns[0::2]]

    loop_of = np.full(len(x), -1)
    piece_of: list[int] = []  # of each loop; a piece has the number of its outer one
    for nodes in _cycles(vertical.tolist()):
        first = nodes[0]  # the leftmost of the uppermost corners
        corners = np.stack([x[nodes], y[nodes]], 1)
        loop_of[nodes] = len(piece_of)
        if padded[y[first] + 1, x[first] + 1]:
            piece_of.append(len(piece_of))
            yield corners, piece_of[-1]
            continue
        # A hole: of the piece that the next edge on the left belongs to, or that the hole there belongs to.
        row = padded[y[first] + 1, : x[first] + 1]
        edge = int(np.flatnonzero(row[1:] != row[:-1])[-1])
        place = int(np.searchsorted(keys, edge * (len(padded) + 1) + y[first], "right")) - 1
        piece_of.append(piece_of[loop_of[along_columns[2 * place]]])
        yield corners[::-1], piece_of[-1]


def _cycles(vertical: list[int]) -> Iterator[list[int]]:
    """Corners one after the other, along a row, along a column and so on; numbers 2 i and 2 i + 1 pair in a row."""
    seen = bytearray(len(vertical))
    for first in range(0, len(vertical), 2):
        if seen[first]:
            continue
        nodes: list[int] = []
        node = first
        while not seen[node]:
            seen[node] = 1
            nodes += (node, node ^ 1)
            seen[node ^ 1] = 1
            node = vertical[node ^ 1]
        yield nodes


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """With fewer corners, none of those left out further than ``tolerance`` away (Douglas and Peucker)."""
    if tolerance <= 0 or len(ring) <= _FEWEST:
        return ring
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(1)))
    closed = np.concatenate([ring, ring[:1]])
    kept = np.zeros(len(closed), np.bool_)
    kept[[0, far]] = True
    pending = [(0, far), (far, len(ring))]
    while pending:
        start, end = pending.pop()
        if end - start < 2:
            continue
        distance = _distances(closed[start + 1 : end], closed[start], closed[end])
        furthest = int(np.argmax(distance))
        if distance[furthest] > tolerance:
            middle = start + 1 + furthest
            kept[middle] = True
            pending += [(start, middle), (middle, end)]
    simpler = closed[:-1][kept[:-1]]
    return simpler if len(simpler) >= _FEWEST else ring


def _distances(points: Ring, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the line between two points, which ends at them."""
    line = end - start
    length = float(line @ line)
    along = np.clip((points - start) @ line / length, 0, 1) if length else np.zeros(len(points))
    distance: NDArray[np.float64] = np.linalg.norm(points - start - along[:, None] * line, axis=1)
    return distance
