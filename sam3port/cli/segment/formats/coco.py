"""COCO: ``annotations.json`` about all pictures of a run. It is also what a run that resumes another one reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sam3port.cli.segment.described import Described, Object, rounded
from sam3port.runtime.coco import document

Run = dict[str, Any]
"""What a run was asked, which decides whether another one may go on with its results."""


def image_entry(picture: Described) -> dict[str, Any]:
    """COCO's entry of a picture, without its id; besides COCO's own words, what tells whether the file has changed."""
    source = {"bytes": picture.size, "mtime_ns": picture.changed, "name": picture.name}
    return {"file_name": picture.file_name, "width": picture.width, "height": picture.height, "sam3port": source}


def coco(pictures: Sequence[Described], categories: Sequence[str], run: Run, polygons: bool) -> dict[str, Any]:
    """The file's content.

    Args:
        pictures: every one has an entry, also one without objects.
        categories: their names, in the order of `Object.category`.
        run: kept in ``info``.
        polygons: masks as polygons, which know no holes exactly, beside run lengths in ``rle``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, 1):
        images.append({"id": image_id, **image_entry(picture)})
        for thing in picture.objects:
            annotations.append(_annotation(len(annotations) + 1, image_id, thing, polygons))
    return document(images, annotations, categories, run)


def from_coco(content: Any, run: Run) -> list[Described]:
    """The pictures of an earlier run's file; none if that run was asked something else or the file is no such file."""
    try:
        if content["info"]["run"] != run:
            return []
        pictures = {image["id"]: _described(image) for image in content["images"]}
        for annotation in content["annotations"]:
            pictures[annotation["image_id"]].objects.append(_object(annotation))
    except (KeyError, TypeError, ValueError):
        return []
    return list(pictures.values())


def _described(image: dict[str, Any]) -> Described:
    source = image["sam3port"]
    size, changed = int(source["bytes"]), int(source["mtime_ns"])
    return Described(image["file_name"], source["name"], image["width"], image["height"], size, changed)


def _annotation(number: int, image_id: int, thing: Object, polygons: bool) -> dict[str, Any]:
    segmentation: Any = thing.rle
    if polygons:
        segmentation = [[value for corner in rounded(ring) for value in corner] for ring in thing.rings()]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": thing.category + 1,
        "segmentation": segmentation,
        "area": thing.area,
        "bbox": thing.box,
        "iscrowd": 0,
        "score": thing.score,
        **({"rle": thing.rle} if polygons else {}),
    }


def _object(annotation: dict[str, Any]) -> Object:
    segmentation, rings = annotation["segmentation"], None
    if "rle" in annotation:
        rings = tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in segmentation)
        segmentation = annotation["rle"]
    category, area = int(annotation["category_id"]) - 1, int(annotation["area"])
    return Object(category, float(annotation["score"]), annotation["bbox"], area, segmentation, rings)
