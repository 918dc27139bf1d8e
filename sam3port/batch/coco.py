"""COCO of a shard. Put together, the shards of a folder are one data set: no two share an id of a picture or object."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from sam3port.batch.storage import is_uri
from sam3port.runtime.coco import document

_MOST_OBJECTS: Final = 1 << 20
"""Of one picture, whose objects' ids begin at this times its own: numbers that JSON holds exactly for 8e9 pictures."""


def coco(results: pa.Table, categories: Sequence[str], run: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """The file's content; pictures that could not be used are left out.

    Args:
        results: as `sam3port.batch.schema.RESULTS`.
        categories: what the texts were; their ids count from 1.
        run: what the job was asked, kept in ``info``.
        folder: where the file will lie, if that is on a disk: files of pictures are named as seen from there.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row in results.to_pylist():
        if row["error"] is None:
            images.append(_image(row, folder))
            annotations += [_annotation(row, number, thing) for number, thing in enumerate(row["objects"])]
    return document(images, annotations, categories, run)


def _image(row: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    name = row["picture"]
    if folder is not None and not is_uri(name):
        name = Path(os.path.relpath(name, os.path.realpath(folder))).as_posix()
    return {"id": row["image_id"], "file_name": name, "width": row["width"], "height": row["height"]}


def _annotation(row: dict[str, Any], number: int, thing: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["image_id"] * _MOST_OBJECTS + number,
        "image_id": row["image_id"],
        "category_id": thing["category"],
        "segmentation": {"size": [row["height"], row["width"]], "counts": thing["rle"]},
        "area": thing["area"],
        "bbox": thing["box"],
        "iscrowd": 0,
        "score": thing["score"],
    }
