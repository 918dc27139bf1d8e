"""What became of one picture, for people and for programs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam3port.cli.segment.described import Described, Object
    from sam3port.cli.segment.images import Source
    from sam3port.errors import Sam3PortError
    from sam3port.runtime.result import Clicked, Result


@dataclass(frozen=True)
class Found:
    """An answer, and which of its masks count, in which order."""

    answer: Result | Clicked
    order: list[int]
    """Indices of masks: the highest score first; of a click the best one only."""

    def category(self, index: int) -> int:
        """The index of the text that the mask was found for."""
        asked = getattr(self.answer, "asked", None)
        return 0 if asked is None else int(asked[index])


@dataclass
class Outcome:
    """What became of one picture."""

    source: Source
    described: Described | None = None
    files: dict[str, Path] = field(default_factory=dict)
    """What was written about it, by form: overlay, masks (a folder), label-map, yolo, geojson."""
    notes: list[str] = field(default_factory=list)
    """What its user should know although it worked."""
    best_below: float | None = None
    """The best score that is not above the threshold."""
    features_known: bool = False
    """Whether the image encoder's results were read from disk."""
    done_before: bool = False
    """An earlier run did it, and this one left it as it was."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each stage took; those of different pictures overlap."""
    error: Sam3PortError | None = None

    @property
    def objects(self) -> list[Object]:
        return [] if self.described is None else self.described.objects

    @property
    def masks(self) -> list[Path]:
        """A file for each object, if they were asked for."""
        if (folder := self.files.get("masks")) is None:
            return []
        return [folder / mask_name(number) for number in range(1, len(self.objects) + 1)]

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds how long the block takes to a stage's seconds."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def as_json(self) -> dict[str, Any]:
        others = {form: str(file) for form, file in self.files.items() if form not in {"overlay", "masks"}}
        return {
            "file": str(self.source.file),
            "width": 0 if self.described is None else self.described.width,
            "height": 0 if self.described is None else self.described.height,
            "objects": [thing.as_json() for thing in self.objects],
            "best_below": self.best_below,
            "overlay": str(self.files["overlay"]) if "overlay" in self.files else None,
            "masks": [str(file) for file in self.masks],
            "files": others,
            "features_known": self.features_known,
            "done_before": self.done_before,
            "seconds": {name: round(seconds, 4) for name, seconds in self.seconds.items()},
            "notes": self.notes,
            "error": None if self.error is None else self.error.problem,
        }


def mask_name(number: int) -> str:
    """The file of the object with this number, from 1, in a folder of masks."""
    return f"{number:03}.png"


def found_in(answer: Result | Clicked) -> Found:
    """Orders an answer's masks."""
    from sam3port.runtime.result import Clicked

    if isinstance(answer, Clicked):
        return Found(answer, [answer.best])
    return Found(answer, sorted(range(len(answer)), key=lambda index: -answer.scores[index]))
