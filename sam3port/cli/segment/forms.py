"""What a run leaves about each picture, besides ``annotations.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ALSO: Final = ("yolo", "label-studio", "label-map", "geojson")


@dataclass(frozen=True)
class Forms:
    """What was chosen."""

    overlay: str | None = "png"
    """The suffix of the picture with the masks drawn on it."""
    masks: bool = True
    """A picture for each mask."""
    polygons: bool = False
    """Masks in ``annotations.json`` as polygons."""
    also: frozenset[str] = frozenset()
    """Of `ALSO`."""

    @property
    def with_rings(self) -> bool:
        """Whether files about the whole run hold polygons."""
        return self.polygons or "label-studio" in self.also

    @property
    def with_polygons(self) -> bool:
        """Whether any file does."""
        return self.with_rings or not self.also.isdisjoint({"yolo", "geojson"})

    def as_json(self) -> dict[str, Any]:
        return {"overlay": self.overlay, "masks": self.masks, "polygons": self.polygons, "also": sorted(self.also)}
