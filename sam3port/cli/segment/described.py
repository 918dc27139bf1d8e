"""A picture and what was found in it, in numbers and texts: what files of every form are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sam3port.runtime.masks.polygons import Polygon, Ring, polygons
from sam3port.runtime.masks.region import Region
from sam3port.runtime.masks.rle import Rle, decode


@dataclass(frozen=True, eq=False)
class Object:
    """One object in a picture."""

    category: int
    """The index of the text that it was found for; 0 without texts."""
    score: float
    box: list[float]
    """x, y, width, height in pixels, within the picture."""
    area: int
    """Pixels of the mask, at least one."""
    rle: Rle
    known_rings: tuple[Ring, ...] | None = None
    """What `rings` gives, if it was computed already."""

    @property
    def region(self) -> Region:
        """The mask, decoded each time: those of a run would fill the memory."""
        return decode(self.rle)

    def rings(self) -> tuple[Ring, ...]:
        """Its pieces, holes joined to their outlines, for forms that know no holes."""
        return joined(polygons(self.region)) if self.known_rings is None else self.known_rings

    @property
    def corners(self) -> list[float]:
        """x0, y0, x1, y1 of its box."""
        x, y, width, height = self.box
        return [x, y, x + width, y + height]

    def as_json(self) -> dict[str, Any]:
        """For the program's output."""
        return {"score": self.score, "box": self.corners, "area": self.area, "category": self.category + 1}


@dataclass(frozen=True)
class Described:
    """A picture that was segmented."""

    file_name: str
    """Of the picture, seen from the folder of results, with slashes."""
    name: str
    """What its results are called."""
    width: int
    height: int
    size: int
    """Of the file, bytes, when it was read."""
    changed: int
    """When it was changed last, nanoseconds."""
    objects: list[Object] = field(default_factory=list)
    """The highest score first."""


def joined(pieces: Sequence[Polygon]) -> tuple[Ring, ...]:
    """A ring for each piece."""
    return tuple(piece.joined() for piece in pieces)


def rounded(ring: Ring) -> list[list[float]]:
    """Corners as ``json`` writes them, to a hundredth of a pixel."""
    numbers: list[list[float]] = np.round(ring, 2).tolist()
    return numbers
