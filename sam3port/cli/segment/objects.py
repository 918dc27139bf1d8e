"""What was found in one picture, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam3port.cli.segment.images import Source
    from sam3port.errors import Sam3PortError
    from sam3port.runtime.result import Clicked, Result


@dataclass(frozen=True)
class Found:
    """An answer, and which of its masks count, in which order."""

    answer: Result | Clicked
    order: list[int]
    """Indices of masks: the highest score first; of a click the best one only."""


@dataclass(frozen=True)
class Object:
    """One object in a picture."""

    score: float
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels; it may reach beyond the picture."""
    area: int
    """Pixels of the mask."""

    def as_json(self) -> dict[str, Any]:
        return {"score": self.score, "box": list(self.box), "area": self.area}


@dataclass
class Outcome:
    """What became of one picture."""

    source: Source
    width: int = 0
    height: int = 0
    objects: list[Object] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    """The overlay, then a mask for each object if they were asked for."""
    notes: list[str] = field(default_factory=list)
    """What its user should know although it worked."""
    error: Sam3PortError | None = None

    def as_json(self) -> dict[str, Any]:
        files = [str(file) for file in self.files]
        return {
            "file": str(self.source.file),
            "width": self.width,
            "height": self.height,
            "objects": [thing.as_json() for thing in self.objects],
            "overlay": files[0] if files else None,
            "masks": files[1:],
            "notes": self.notes,
            "error": None if self.error is None else self.error.problem,
        }


def found_in(answer: Result | Clicked) -> Found:
    """Orders an answer's masks."""
    from sam3port.runtime.result import Clicked

    if isinstance(answer, Clicked):
        return Found(answer, [answer.best])
    return Found(answer, sorted(range(len(answer.scores)), key=lambda index: -answer.scores[index]))


def objects(annotations: Sequence[dict[str, Any]]) -> list[Object]:
    """From COCO's annotations, in their order."""
    result = []
    for annotation in annotations:
        x, y, width, height = annotation["bbox"]
        result.append(Object(annotation["score"], (x, y, x + width, y + height), annotation["area"]))
    return result
