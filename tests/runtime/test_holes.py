"""Holes are filled where upstream fills them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import label

from sam3port.runtime.holes import component_areas, filled


def by_skimage(pixels: np.ndarray) -> np.ndarray:
    labels = label(pixels.astype(np.uint8))
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return areas[labels]


@pytest.mark.parametrize("seed", range(40))
def test_areas_of_noise(seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.random(random.integers(1, 50, 2)) < random.random()
    np.testing.assert_array_equal(component_areas(pixels), by_skimage(pixels))


@pytest.mark.parametrize("smooth", [1, 3, 10])
def test_areas_of_shapes_at_full_size(smooth: int) -> None:
    pixels = gaussian_filter(np.random.default_rng(smooth).standard_normal((288, 288)), smooth) > 0
    np.testing.assert_array_equal(component_areas(pixels), by_skimage(pixels))


def test_areas_of_one_long_winding_line() -> None:
    snake = np.zeros((101, 60), np.bool_)
    snake[::2] = True
    snake[1::4, -1] = snake[3::4, 0] = True
    assert (component_areas(snake)[snake] == snake.sum()).all()


@pytest.mark.parametrize("value", [True, False])
def test_areas_of_all_and_nothing(value: bool) -> None:
    np.testing.assert_array_equal(component_areas(np.full((5, 7), value)), 35 * value)


def test_small_holes_are_filled_and_large_ones_are_not() -> None:
    logits = np.full((2, 60, 60), 3, np.float32)
    logits[0, 5:21, 5:21] = -1  # 256 pixels
    logits[0, 30:47, 30:46] = -2  # 272
    logits[1, 10, 10] = 0  # background too
    result = filled(logits)
    assert (result[0, 5:21, 5:21] == 10).all()
    assert (result[0, 30:47, 30:46] == -2).all()
    assert result[1, 10, 10] == 10
    assert logits[1, 10, 10] == 0, "the given array stays as it is"
    others = np.ones_like(logits, np.bool_)
    others[0, 5:21, 5:21] = others[1, 10, 10] = False
    np.testing.assert_array_equal(result[others], logits[others])


def test_holes_that_touch_at_a_corner_are_one() -> None:
    logits = np.full((1, 40, 40), 1, np.float32)
    logits[0, 2:14, 2:14] = logits[0, 14:26, 14:26] = -1  # 144 pixels each
    np.testing.assert_array_equal(filled(logits), logits)
