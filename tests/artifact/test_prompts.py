"""Padding prompts to a capacity: what goes where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3port.artifact.interface import Capacity
from sam3port.artifact.prompts import Clicks, Geometry, join, only, pad_clicks, pad_geometry, pad_tokens
from sam3port.errors import UsageError
from sam3port.model.preset import preset

CAPACITY = Capacity(prompts=2, points=3, boxes=2)
TINY = preset("tiny")


def floats(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


def ones(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.ones(count, np.int64)


def test_geometry_goes_first_padding_last() -> None:
    padded = pad_geometry([Geometry(points=floats(2, 2), point_labels=ones(2))], CAPACITY)
    np.testing.assert_array_equal(padded["points"][:, 0], [[1, 2], [3, 4], [0, 0]])
    np.testing.assert_array_equal(padded["point_labels"][:, 0], [1, 1, 0])
    np.testing.assert_array_equal(padded["point_mask"], [[False, False, True], [True, True, True]])
    assert padded["boxes"].shape == (2, 2, 4)
    assert padded["box_mask"].all()


@given(points=st.integers(0, 5), boxes=st.integers(0, 5), prompts=st.integers(0, 4))
def test_more_than_the_capacity_is_refused_and_nothing_else(points: int, boxes: int, prompts: int) -> None:
    prompt = Geometry(floats(points, 2), ones(points), floats(boxes, 4), ones(boxes))
    too_many = prompts > CAPACITY.prompts or (prompts and (points > CAPACITY.points or boxes > CAPACITY.boxes))
    if too_many:
        with pytest.raises(UsageError, match="are more than the"):
            pad_geometry([prompt] * prompts, CAPACITY)
        return
    padded = pad_geometry([prompt] * prompts, CAPACITY)
    assert np.count_nonzero(padded["point_mask"] == 0) == points * prompts
    assert np.count_nonzero(padded["box_mask"] == 0) == boxes * prompts


def test_the_refusal_says_what_and_how_many() -> None:
    with pytest.raises(UsageError, match="4 points are more than the 3 that this build takes") as caught:
        pad_geometry([Geometry(floats(4, 2), ones(4))], CAPACITY)
    assert "larger capacity of points" in caught.value.remedy
    with pytest.raises(UsageError, match="4 points are more than the 3"):
        pad_clicks([Clicks(floats(4, 2), ones(4))], CAPACITY, TINY)
    with pytest.raises(UsageError, match="3 prompts are more than the 2"):
        pad_clicks([Clicks()] * 3, CAPACITY, TINY)
    with pytest.raises(UsageError, match="3 prompts are more than the 2"):
        pad_tokens(np.ones((3, 32), np.int64), CAPACITY)


def test_every_point_and_box_needs_a_label() -> None:
    with pytest.raises(UsageError, match="2 points have 1 labels"):
        pad_geometry([Geometry(points=floats(2, 2), point_labels=ones(1))], CAPACITY)
    with pytest.raises(UsageError, match="1 boxes have 0 labels"):
        pad_geometry([Geometry(boxes=floats(1, 4))], CAPACITY)
    with pytest.raises(UsageError, match="1 points have 2 labels"):
        pad_clicks([Clicks(floats(1, 2), ones(2))], CAPACITY, TINY)


def test_a_box_is_two_points_ahead_of_the_clicks() -> None:
    prompt = Clicks(floats(2, 2), np.array([1, 0]), box=np.array([10, 20, 30, 40], np.float32))
    padded = pad_clicks([prompt], CAPACITY, TINY)
    np.testing.assert_array_equal(padded["clicks"][0], [[10, 20], [30, 40], [1, 2], [3, 4], [0, 0]])
    np.testing.assert_array_equal(padded["click_labels"][0], [2, 3, 1, 0, 0])
    np.testing.assert_array_equal(padded["click_mask"], [[False] * 4 + [True], [True] * 5])


def test_masks_have_the_size_of_a_result() -> None:
    side = TINY.mask_size
    padded = pad_clicks([Clicks(), Clicks(mask=floats(side, side))], CAPACITY, TINY)
    assert padded["has_mask_input"].tolist() == [False, True]
    np.testing.assert_array_equal(padded["mask_input"][1, 0], floats(side, side))
    with pytest.raises(UsageError, match=rf"\(7, 7\), it must be \({side}, {side}\)"):
        pad_clicks([Clicks(mask=floats(7, 7))], CAPACITY, TINY)


def test_texts_are_padded_with_nothing() -> None:
    np.testing.assert_array_equal(pad_tokens(np.full((1, 4), 7), CAPACITY), [[7] * 4, [0] * 4])


def test_join_puts_text_first() -> None:
    whole = join(floats(3, 1, 2), np.zeros((1, 3), np.bool_), -floats(2, 1, 2), np.ones((1, 2), np.bool_))
    assert whole["prompt"][:, 0, 0].tolist() == [1, 3, 5, -1, -3]
    assert whole["prompt_mask"].tolist() == [[False, False, False, True, True]]


def test_only_leaves_one_column() -> None:
    assert only(np.zeros((2, 3)), 1).tolist() == [[True, False, True]] * 2
