"""What a user points at, in pixels of the picture, as the model takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam3port.artifact.prompts import Clicks, Geometry
from sam3port.errors import UsageError

LOGIT_LIMIT = np.float32(32)
"""Mask prompts are clamped to -32..32 (sam1_task_predictor.py:426)."""

Labels = Sequence[bool] | NDArray[Any] | None


def geometry(
    width: int, height: int, points: ArrayLike | None, point_labels: Labels, boxes: ArrayLike | None, box_labels: Labels
) -> Geometry:
    """Points and boxes for the detector.

    Args:
        width: of the picture, pixels, like height.
        points: (n, 2) x, y.
        point_labels: (n,), true for what is wanted; all of them unless given.
        boxes: (n, 4) x0, y0, x1, y1. They may reach beyond the picture (upstream does not clip them either).
        box_labels: (n,), like ``point_labels``.

    Raises:
        UsageError: a wrong shape, a value that is no number, a box without area or wholly outside, a point outside,
            labels of another number.
    """
    corners = _boxes(boxes, width, height)
    pixels = _points(points, width, height)
    size = np.array([width, height], np.float64)
    first, second = corners[:, :2] / size, corners[:, 2:] / size
    return Geometry(
        points=(pixels / size).astype(np.float32),
        point_labels=_labels(point_labels, len(pixels), "point"),
        boxes=np.concatenate([(first + second) / 2, second - first], 1).astype(np.float32),
        box_labels=_labels(box_labels, len(corners), "box"),
    )


def clicks(
    width: int,
    height: int,
    points: ArrayLike | None,
    point_labels: Labels,
    box: ArrayLike | None,
    mask: ArrayLike | None,
    image_size: int,
) -> Clicks:
    """Points, a box and a mask for the interactive predictor.

    Args:
        width: of the picture, pixels, like height.
        points: (n, 2) x, y.
        point_labels: (n,), true for the object, false for the rest; all of them the object unless given.
        box: (4,) x0, y0, x1, y1.
        mask: (mask_size, mask_size) logits, also (1, mask_size, mask_size).
        image_size: the model's; its coordinates are pixels of that square (sam1_utils.py:50).

    Raises:
        UsageError: as `geometry`; or nothing is given at all.
    """
    pixels = _points(points, width, height)
    if box is None and mask is None and not len(pixels):
        raise UsageError("nothing was clicked", "give points, a box or a mask")
    labels = _labels(point_labels, len(pixels), "point")
    given = None if box is None else _scaled(_boxes(_one(box), width, height).reshape(2, 2), width, height, image_size)
    return Clicks(
        points=_scaled(pixels, width, height, image_size),
        labels=labels,
        box=None if given is None else given.reshape(4),
        mask=None if mask is None else _logits(mask),
    )


def corners(boxes: ArrayLike | None, width: int, height: int) -> NDArray[np.float64]:
    """(n, 4) boxes in pixels, checked as `geometry` does."""
    return _boxes(boxes, width, height)


def _scaled(pixels: NDArray[np.float64], width: int, height: int, side: int) -> NDArray[np.float32]:
    """In float32 throughout, like upstream (sam1_utils.py:57)."""
    size = np.array([width, height], np.float32)
    scaled: NDArray[np.float32] = pixels.astype(np.float32) / size * np.float32(side)
    return scaled


def _one(box: ArrayLike) -> Any:
    """A list of one box. Not an array yet: what it is given may be none."""
    return [box]


def _points(given: ArrayLike | None, width: int, height: int) -> NDArray[np.float64]:
    points = _numbers(given, 2, "points", "[(x, y), ...]")
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise UsageError(
                f"the point {_text(x, y)} is outside the picture of {width} x {height}",
                "points are x, y in pixels of the picture as it is shown (after EXIF orientation)",
            )
    return points


def _boxes(given: ArrayLike | None, width: int, height: int) -> NDArray[np.float64]:
    boxes = _numbers(given, 4, "boxes", "[(x0, y0, x1, y1), ...]")
    for x0, y0, x1, y1 in boxes:
        text = _text(x0, y0, x1, y1)
        if x1 <= x0 or y1 <= y0:
            raise UsageError(
                f"the box {text} has no area: x1 must be greater than x0, y1 than y0", "give two opposite corners"
            )
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise UsageError(
                f"the box {text} is outside the picture of {width} x {height}",
                "boxes are x0, y0, x1, y1 in pixels of the picture as it is shown (after EXIF orientation)",
            )
    return boxes


def _numbers(given: ArrayLike | None, columns: int, what: str, example: str) -> NDArray[np.float64]:
    if given is None:
        return np.zeros((0, columns))
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):  # the last: whole numbers beyond any float
        raise UsageError(f"the {what} are no table of numbers", f"give {example}") from None
    if array.size == 0 and array.ndim < 3:
        return np.zeros((0, columns))
    if array.ndim != 2 or array.shape[1] != columns:
        raise UsageError(f"the {what} have the shape {array.shape}, not (n, {columns})", f"give {example}")
    if not np.isfinite(array).all():
        raise UsageError(f"the {what} hold a value that is no finite number", f"give {example}")
    return array


def _labels(given: Labels, count: int, what: str) -> NDArray[np.int64]:
    if given is None:
        return np.ones(count, np.int64)
    try:
        labels = np.asarray(given)
    except ValueError:  # lists of different lengths
        labels = np.asarray("none")
    if labels.size == 0:
        labels = np.zeros(0, np.bool_)
    if labels.ndim != 1 or labels.dtype.kind not in "bui" or not np.isin(labels, (0, 1)).all():
        raise UsageError(f"the {what} labels are {given!r}", "give one truth value for each: [True, False, ...]")
    if len(labels) != count:
        many = "boxes" if what == "box" else "points"
        raise UsageError(f"{count} {many} have {len(labels)} labels", "give one label for each")
    return labels.astype(np.int64)


def _logits(given: ArrayLike) -> NDArray[np.float32]:
    """The size is looked at where the masks are padded (`sam3port.artifact.prompts.pad_clicks`)."""
    mask = np.asarray(given)
    if mask.ndim == 3 and len(mask) == 1:
        mask = mask[0]
    if mask.dtype.kind != "f" or not np.isfinite(mask).all():
        raise UsageError(
            f"the mask is an array of {mask.dtype.name} or not finite", "give logits of an earlier click, float32"
        )
    return np.clip(mask.astype(np.float32), -LOGIT_LIMIT, LOGIT_LIMIT)


def _text(*values: float) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
