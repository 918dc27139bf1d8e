"""Run lengths are pycocotools' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from sam3port.runtime.masks import rle
from sam3port.runtime.masks.region import known, stacked, trimmed


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 0.1, 0.5, 0.95, 1]))
def test_any_masks_are_theirs(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    found = rle.encode(trimmed(mask), height, width)
    theirs = coco.encode(np.asfortranarray(mask, np.uint8))
    assert found == {"size": [height, width], "counts": theirs["counts"].decode()}
    np.testing.assert_array_equal(rle.decode(found).mask(height, width), mask)


def test_a_large_one_is_theirs() -> None:
    y, x = np.mgrid[:1000, :1400]
    mask = (np.hypot(x - 700, y - 400) < 350) & (np.hypot(x - 600, y - 400) > 50)
    found = rle.encode(trimmed(mask), 1000, 1400)
    assert found["counts"] == coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


@pytest.mark.parametrize("empty", [False, True])
def test_regions_are_the_masks_they_were(empty: bool) -> None:
    masks = np.random.default_rng(1).random((3, 20, 30)) < 0.02
    masks[1] &= not empty
    regions = known(masks)
    np.testing.assert_array_equal(stacked(regions), masks)
    assert [region.area for region in regions] == masks.sum((1, 2)).tolist()
    assert bool(regions[1]) is not empty
    np.testing.assert_array_equal(stacked(regions.take([2, 0])), masks[[2, 0]])
