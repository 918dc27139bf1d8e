"""What both sides are asked about a photograph."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact.interface import Capacity
from sam3port.errors import UsageError
from sam3port.model.preset import Traits
from sam3port.verify.end_to_end.photographs import Photograph

Point = tuple[float, float]
Box = tuple[float, float, float, float]

_LONG: Final = "une tasse de café ☕ &amp; a spoon, " * 12


class Kind(StrEnum):
    """What is compared."""

    INPUT = "input"
    """The tensor that the image encoder is given."""
    SEGMENT = "segment"
    """The objects that the detector finds."""
    CLICK = "click"
    """The masks of the interactive predictor."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question. Coordinates are pixels of the photograph as it is shown."""

    name: str
    kind: Kind
    text: str | None = None
    boxes: tuple[Box, ...] = ()
    """x0, y0, x1, y1. Of a click the first one counts."""
    box_labels: tuple[bool, ...] = ()
    points: tuple[Point, ...] = ()
    point_labels: tuple[bool, ...] = ()
    multimask: bool = True
    again: bool = False
    """The first mask of a click on the first point alone goes into this click."""
    threshold: float | None = None
    """Upstream's run chooses it."""

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        return {"prompt": np.array(json.dumps(dataclasses.asdict(self)))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Prompt:
        values = json.loads(str(arrays["prompt"]))
        for name in ("boxes", "points"):
            values[name] = tuple(map(tuple, values[name]))
        for name in ("box_labels", "point_labels"):
            values[name] = tuple(values[name])
        return cls(**values | {"kind": Kind(values["kind"])})


def prompts(photograph: Photograph, traits: Traits | None = None, *, long_text: bool) -> list[Prompt]:
    """Every kind of prompt for one photograph, the input tensor first.

    Args:
        traits: of the model, SAM 3's own unless given; it is asked nothing for which its weights have nothing.
        long_text: also one that does not fit the model's context, not in English. Once is enough.
    """
    width, height = photograph.width, photograph.height

    def box(x0: float, y0: float, x1: float, y1: float) -> Box:
        return (x0 * width, y0 * height, x1 * width, y1 * height)

    def point(x: float, y: float) -> Point:
        return (x * width, y * height)

    middle, corner, side = box(0.3, 0.25, 0.72, 0.8), box(0.02, 0.05, 0.3, 0.4), box(0.6, 0.1, 0.95, 0.45)
    here, there, not_here = point(0.51, 0.47), point(0.66, 0.3), point(0.08, 0.85)
    segment = [
        Prompt("text", Kind.SEGMENT, photograph.text),
        Prompt("long text", Kind.SEGMENT, _LONG),
        Prompt("one box", Kind.SEGMENT, boxes=(middle,), box_labels=(True,)),
        Prompt("boxes + + -", Kind.SEGMENT, boxes=(middle, side, corner), box_labels=(True, True, False)),
        Prompt("text, boxes + -", Kind.SEGMENT, photograph.text, boxes=(side, corner), box_labels=(True, False)),
        Prompt("points + -", Kind.SEGMENT, points=(here, not_here), point_labels=(True, False)),
        Prompt("text, box, point", Kind.SEGMENT, photograph.text, (middle,), (True,), (there,), (True,)),
    ]
    click = [
        Prompt("click", Kind.CLICK, points=(here,), point_labels=(True,)),
        Prompt(
            "clicks + + -, one mask",
            Kind.CLICK,
            points=(here, there, not_here),
            point_labels=(True, True, False),
            multimask=False,
        ),
        Prompt("click, box", Kind.CLICK, boxes=(middle,)),
        Prompt("click, box and point -", Kind.CLICK, boxes=(middle,), points=(there,), point_labels=(False,)),
        Prompt("clicks + -, earlier mask", Kind.CLICK, points=(here, not_here), point_labels=(True, False), again=True),
    ]
    kept = [prompt for prompt in segment if long_text or prompt.text != _LONG]
    traits = traits or Traits()
    kept = [prompt for prompt in kept if traits.points or not prompt.points]
    return [Prompt("input", Kind.INPUT), *kept, *(click if traits.clicks else ())]


def require(capacity: Capacity) -> None:
    """Raises UsageError unless all prompts fit into such a build."""
    if capacity.boxes < 3 or capacity.points < 3:
        raise UsageError(
            f"the prompts have up to 3 boxes and 3 points, the build takes {capacity.boxes} and {capacity.points}",
            "build with a larger capacity: --boxes 3 --points 3",
        )
