"""Equal to PyTorch, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from sam3port.runtime.masks.enlarge import Enlarged
from sam3port.runtime.masks.region import stacked


def by_torch(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(logits)[:, None]
    return interpolate(tensor, (height, width), mode="bilinear", align_corners=False)[:, 0].numpy()


def logits_of(side: int) -> np.ndarray:
    """Noise, smooth pieces, one that is everywhere, one pixel in the corner, nothing."""
    noise = np.random.default_rng(side).standard_normal((5, side, side)).astype(np.float32)
    noise[1] = gaussian_filter(noise[1], side / 12) - 0.02
    noise[2] = np.abs(noise[2]) + 0.1
    noise[3] = -np.abs(noise[3])
    noise[3, -1, -1] = 2
    noise[4] = -np.abs(noise[4])
    return noise


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 77), (40, 50), (288, 288), (333, 777), (1200, 900)])
@pytest.mark.parametrize("side", [32, 288])
@pytest.mark.parametrize("threshold", [0.0, 0.7])
def test_masks_are_torchs(height: int, width: int, side: int, threshold: float) -> None:
    logits = logits_of(side)
    found = stacked(Enlarged(logits, height, width, threshold))
    expected = by_torch(logits, height, width)
    # The order of four additions may decide where the sum is the threshold but for rounding, and nowhere else.
    close = np.abs(expected - np.float32(threshold)) < (1e-6 if threshold == 0 else 2e-5)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found | close, (expected > threshold) | close)


def test_no_masks_are_no_masks() -> None:
    assert stacked(Enlarged(np.zeros((0, 32, 32), np.float32), 30, 40)).shape == (0, 30, 40)


def test_what_is_enlarged_is_where_it_is() -> None:
    """Every side of the box touches the mask, and nothing larger is made on the way."""
    logits = np.full((1, 32, 32), -1, np.float32)
    logits[0, 10:14, 20:23] = 1
    region = Enlarged(logits, 1600, 3200)[0]
    assert region.inside[0].any() and region.inside[-1].any()
    assert region.inside[:, 0].any() and region.inside[:, -1].any()
    assert (region.top, region.bottom) == (500, 700)
    assert (region.left, region.right) == (2000, 2300)
    assert not Enlarged(-np.abs(logits), 1600, 3200)[0]
