"""Outlines are what a rank filter finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import minimum_filter

from sam3port.runtime.masks.outline import core


@pytest.mark.parametrize("line", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (15, 15), (19, 19), (60, 50)])
def test_the_core_has_no_outside_near(line: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(line)
    for share in (0.9, 0.99, 1):
        mask = rng.random(shape) < share
        expected = minimum_filter(mask, 2 * line + 1, mode="constant", cval=0)
        np.testing.assert_array_equal(core(mask, line), expected)
