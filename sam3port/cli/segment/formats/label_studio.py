"""Label Studio's JSON: a task for each picture, with the objects as predictions to be corrected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sam3port.cli.segment.described import Described, Object
from sam3port.runtime.label_studio import polygon
from sam3port.runtime.masks.polygons import Ring

CONTROL: Final = "label"
"""The name that the labelling interface has to give its ``PolygonLabels``; that of its ``Image`` is ``image``."""


def tasks(pictures: Sequence[Described], categories: Sequence[str], model: str) -> list[dict[str, Any]]:
    """The file's content. A polygon for each piece of an object; holes are joined to their outlines.

    Args:
        pictures: those of the run.
        categories: their names, in the order of `Object.category`.
        model: the name that predictions have.
    """
    return [_task(picture, categories, model) for picture in pictures]


def _task(picture: Described, categories: Sequence[str], model: str) -> dict[str, Any]:
    result = [
        _polygon(picture, thing, ring, categories[thing.category], f"{number}-{piece}")
        for number, thing in enumerate(picture.objects, 1)
        for piece, ring in enumerate(thing.rings(), 1)
    ]
    scores = [thing.score for thing in picture.objects]
    prediction = {"model_version": model, "score": sum(scores) / len(scores) if scores else 0.0, "result": result}
    return {"data": {"image": picture.file_name}, "predictions": [prediction]}


def _polygon(picture: Described, thing: Object, ring: Ring, name: str, number: str) -> dict[str, Any]:
    return {
        "id": number,
        "from_name": CONTROL,
        "to_name": "image",
        "original_width": picture.width,
        "original_height": picture.height,
        "image_rotation": 0,
        "score": thing.score,
        **polygon(ring, name, picture.width, picture.height),
    }
