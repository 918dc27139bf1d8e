"""What is pointed at, in the model's coordinates, and what cannot be pointed at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam3port.errors import UsageError
from sam3port.runtime.prompts import clicks, geometry

WIDTH, HEIGHT = 200, 100
NAN = float("nan")


def detector(**given: Any) -> Any:
    asked = {"points": None, "point_labels": None, "boxes": None, "box_labels": None, **given}
    return geometry(WIDTH, HEIGHT, **asked)


def interactive(**given: Any) -> Any:
    asked = {"points": None, "point_labels": None, "box": None, "mask": None, "image_size": 112, **given}
    return clicks(WIDTH, HEIGHT, **asked)


def test_boxes_are_centre_and_size_of_the_whole() -> None:
    found = detector(boxes=[(50, 25, 150, 75), (0, 0, 200, 100)], box_labels=[True, False])
    np.testing.assert_array_equal(found.boxes, [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    np.testing.assert_array_equal(found.box_labels, [1, 0])
    assert found.boxes.dtype == np.float32
    assert found.box_labels.dtype == np.int64
    assert found.points.shape == (0, 2)


def test_a_box_may_reach_beyond_the_picture_and_is_not_clipped() -> None:
    found = detector(boxes=[(-100, -50, 100, 50)])
    np.testing.assert_array_equal(found.boxes, [[0, 0, 1, 1]])


def test_points_are_parts_of_the_whole() -> None:
    found = detector(points=[(100, 25), (0, 0), (200, 100)], point_labels=np.array([1, 0, 1]))
    np.testing.assert_array_equal(found.points, [[0.5, 0.25], [0, 0], [1, 1]])
    np.testing.assert_array_equal(found.point_labels, [1, 0, 1])


def test_labels_are_true_unless_given() -> None:
    np.testing.assert_array_equal(detector(points=[(1, 2), (3, 4)]).point_labels, [1, 1])
    np.testing.assert_array_equal(detector(boxes=[(1, 2, 3, 4)]).box_labels, [1])
    assert len(detector(boxes=[], box_labels=[]).boxes) == 0


def test_clicks_are_pixels_of_the_models_square() -> None:
    found = interactive(points=[(100, 25)], point_labels=[False], box=(0, 0, 200, 50))
    np.testing.assert_array_equal(found.points, [[56, 28]])
    np.testing.assert_array_equal(found.labels, [0])
    np.testing.assert_array_equal(found.box, [0, 0, 112, 56])
    assert found.points.dtype == found.box.dtype == np.float32
    assert found.mask is None


def test_a_mask_is_clamped() -> None:
    given = np.linspace(-100, 100, 32 * 32).reshape(1, 32, 32)
    mask = interactive(mask=given).mask
    np.testing.assert_array_equal(mask, np.clip(given[0], -32, 32).astype(np.float32))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"boxes": [(50, 25, 50, 75)]}, r"\(50, 25, 50, 75\) has no area"),
        ({"boxes": [(50, 75, 150, 25)]}, "has no area"),
        ({"boxes": [(200, 0, 250, 50)]}, r"\(200, 0, 250, 50\) is outside the picture of 200 x 100"),
        ({"boxes": [(-9, 0, 0, 50)]}, "is outside"),
        ({"boxes": [(0, 100, 50, 150)]}, "is outside"),
        ({"boxes": [(0, 0, 10, 10), (NAN, 0, 50, 50)]}, "no finite number"),
        ({"boxes": [(0, 0, float("inf"), 50)]}, "no finite number"),
        ({"boxes": (0, 0, 10, 10)}, r"shape \(4,\)"),
        ({"boxes": [(0, 0, 10)]}, r"shape \(1, 3\)"),
        ({"boxes": [(0, 0, 10, 10), (1, 2)]}, "no table of numbers"),
        ({"boxes": "0,0,10,10"}, "no table of numbers"),
        ({"boxes": [(0, 0, 10, 10**400)]}, "no table of numbers"),
        ({"points": [(10**400, 5)]}, "no table of numbers"),
        ({"boxes": [(0, 0, 10, 10)], "box_labels": [True, True]}, "1 boxes have 2 labels"),
        ({"boxes": [(0, 0, 10, 10)], "box_labels": [2]}, r"box labels are \[2\]"),
        ({"boxes": [(0, 0, 10, 10)], "box_labels": True}, "box labels are True"),
        ({"boxes": [(0, 0, 10, 10)], "box_labels": ["+"]}, "box labels are"),
        ({"box_labels": [True]}, "0 boxes have 1 labels"),
        ({"points": [(201, 5)]}, r"the point \(201, 5\) is outside"),
        ({"points": [(5, -1)]}, "is outside"),
        ({"points": [(5, NAN)]}, "no finite number"),
        ({"points": (5, 5)}, r"shape \(2,\)"),
        ({"points": [(5, 5)], "point_labels": []}, "1 points have 0 labels"),
        ({"points": [(5, 5)], "point_labels": [[1], [1, 2]]}, "point labels are"),
    ],
)
def test_what_cannot_be_pointed_at_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        detector(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing was clicked"),
        ({"points": []}, "nothing was clicked"),
        ({"box": (5, 5, 5, 9)}, "has no area"),
        ({"box": [(1, 2, 3, 4)]}, "shape"),
        ({"box": (500, 5, 600, 9)}, "is outside"),
        ({"points": [(5, 5)], "point_labels": [-1]}, r"point labels are \[-1\]"),
        ({"mask": np.full((32, 32), np.nan, np.float32)}, "not finite"),
        ({"mask": np.ones((32, 32), np.bool_)}, "bool"),
    ],
)
def test_what_cannot_be_clicked_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        interactive(**given)
