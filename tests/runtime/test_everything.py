"""A grid of clicks, and what is left of their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import skimage.data

from sam3port.errors import UsageError
from sam3port.runtime.everything import Grid, everything
from sam3port.runtime.model import Model

SIDE = 64


def scene(points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """A disc on the left, a square with a hole on the right: what is clicked on, blurred, and two worse masks."""
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = 14 - np.hypot(x - 16, y - 20)
    square = 12.5 - np.maximum(abs(x - 46), abs(y - 40))
    square[40, 46] = -1  # a hole of one pixel
    square[2, 62] = 1  # and a pixel far away
    masks, scores = [], []
    for px, py in points:
        column, row = int(px * SIDE), int(py * SIDE)
        one = disc if disc[row, column] > 0 else square if square[row, column] > 0 else np.full((SIDE, SIDE), -5.0)
        noise = np.where((x + y) % 2, 0.5, -0.5)  # changes wholly with the threshold
        masks.append(np.stack([30 * one, noise, 30 * disc]))
        scores.append([0.95 + 0.01 * px, 0.99, 0.5])
    return np.array(masks, np.float32), np.array(scores, np.float32)


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_one_mask_of_each_thing_is_left(at_once: int) -> None:
    logits, scores = everything(scene, Grid(points_per_side=8), SIDE * 10, SIDE * 10, at_once)
    masks = logits > 0
    assert len(masks) == 2, "not those that are unstable, scored low, empty, or upon another"
    assert scores[0] >= scores[1] > 0.95
    assert masks[0][40, 40] and masks[1][20, 16]


def test_small_regions_are_removed() -> None:
    """Areas are pixels of the picture, which is ten times as large as the masks."""
    logits, _ = everything(scene, Grid(points_per_side=8, min_mask_region_area=150), SIDE * 10, SIDE * 10, 64)
    square = next(mask for mask in logits > 0 if mask[40, 40])
    assert square[40, 46] and not square[2, 62]
    every, _ = everything(scene, Grid(points_per_side=8, min_mask_region_area=1000), SIDE, SIDE, 64)
    assert len(every) == 2, "the largest piece stays"


def test_each_threshold_counts() -> None:
    def count(**values: Any) -> int:
        return len(everything(scene, Grid(points_per_side=8, **values), SIDE, SIDE, 64)[1])

    assert count(pred_iou_thresh=0.999) == 0
    assert count(stability_score_thresh=1.0) == 1, "the square: its border is steep between pixels"
    assert count(stability_score_thresh=0.0) > 2
    assert count(box_nms_thresh=1.0) > 2


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"points_per_side": 0}, "points_per_side is 0"),
        ({"pred_iou_thresh": 2}, "pred_iou_thresh is 2"),
        ({"box_nms_thresh": float("nan")}, "box_nms_thresh is nan"),
        ({"min_mask_region_area": -1}, "min_mask_region_area is -1"),
        ({"min_mask_region_area": 10**400}, "min_mask_region_area is 1000"),
    ],
)
def test_wrong_parameters(model: Model, values: dict[str, Any], complaint: str) -> None:
    image = model.encode_image(skimage.data.chelsea())
    with pytest.raises(UsageError, match=complaint):
        image.everything(Grid(**values))


def test_of_a_photograph(model: Model) -> None:
    image = model.encode_image(skimage.data.chelsea())
    found = image.everything(Grid(points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0))
    assert 0 < len(found) <= 48
    assert found.masks.shape == (len(found), 300, 451)
    assert np.all(np.diff(found.scores) <= 0)
    # Each is one that its click gives.
    clicked = [image.click([((x + 0.5) * 451 / 4, (y + 0.5) * 75)]) for y in range(4) for x in range(4)]
    scores = np.concatenate([each.scores for each in clicked])
    assert all(np.abs(scores - score).min() < 1e-5 for score in found.scores)
    assert len(image.everything(Grid(points_per_side=2, pred_iou_thresh=1.0))) == 0
