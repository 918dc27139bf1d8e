"""YOLO's segmentation labels: a text file for each picture, and ``data.yaml`` about all.

Coordinates are parts of the picture's sides. An object of several pieces is one polygon, whose pieces are joined by
lines there and back, as Ultralytics' own converter of COCO does it: a label has one line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from sam3port.cli.segment.described import Described, joined
from sam3port.runtime.masks.polygons import Polygon, bridged


def labels(picture: Described, pieces: Sequence[Sequence[Polygon]]) -> str:
    """The lines of a picture's file: the number of the category, then x y of each corner. Empty without objects.

    Args:
        picture: the picture.
        pieces: of its objects.
    """
    size = np.array([picture.width, picture.height])
    found = []
    for thing, polygons in zip(picture.objects, pieces, strict=True):
        parts = bridged(joined(polygons)) / size
        found.append(f"{thing.category} " + " ".join(f"{value:.6f}" for value in parts.reshape(-1)) + "\n")
    return "".join(found)


def data(categories: Sequence[str]) -> str:
    """``data.yaml``, for pictures that lie (or are linked) in ``images`` beside it."""
    # JSON's strings are YAML's, whatever is in them.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(categories))
    return f"path: .\ntrain: images\nval: images\nnc: {len(categories)}\nnames:\n{names}"
