"""Pooled regions against a plain loop over samples in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3port.kernels.cpu.elementwise.roi_align import RoiAlignSpec, roi_align_func
from tests.kernels.running import CPU, Array, random, run

SPEC = RoiAlignSpec(batch=2, channels=5, height=12, width=19, regions=0, pooled=(7, 7), scale=1.0, samples=0)


def axis(bins: int, size: int, start: float, end: float, spec: RoiAlignSpec) -> Array:
    """Weights of positions for each bin; every sample by itself, as torchvision's kernel places them."""
    weights = np.zeros((bins, size))
    start, end = start * spec.scale, end * spec.scale
    length = max(end - start, 1.0)
    count = spec.samples or math.ceil(np.float32(length) / np.float32(bins))
    for each in range(bins):
        for sample in range(count):
            at = start + (each + (sample + 0.5) / count) * length / bins
            if at < -1 or at > size:
                continue
            at = min(max(at, 0.0), size - 1)
            low = int(at)
            weights[each, low] += (1 - (at - low)) / count
            weights[each, min(low + 1, size - 1)] += (at - low) / count
    return weights


def expected(x: Array, regions: Array, spec: RoiAlignSpec) -> Array:
    found = []
    for item, x1, y1, x2, y2 in regions.astype(np.float64):
        rows = axis(spec.pooled[0], spec.height, y1, y2, spec)
        columns = axis(spec.pooled[1], spec.width, x1, x2, spec)
        found.append(np.einsum("py,cyx,qx->cpq", rows, x[int(item)].astype(np.float64), columns))
    return np.array(found)


def check(regions: Array, spec: RoiAlignSpec = SPEC) -> None:
    spec = replace(spec, regions=len(regions))
    x = random(0, spec.batch, spec.channels, spec.height, spec.width)
    ours = run(roi_align_func(spec, CPU), [x, regions], (len(regions), spec.channels, *spec.pooled))
    np.testing.assert_allclose(ours, expected(x, regions, spec), rtol=0, atol=2e-5)


REGIONS = np.array(
    [
        [0, 0.0, 0.0, 19.0, 12.0],  # everything
        [1, 3.3, 2.1, 5.4, 9.7],
        [0, 4.0, 4.0, 4.0, 4.0],  # nothing: widened to a pixel
        [1, 9.0, 8.0, 2.0, 1.0],  # from right to left: widened, too
        [1, -40.0, -30.0, -20.0, -10.0],  # outside
        [0, -6.0, -4.0, 30.0, 20.0],  # beyond all sides
        [1, 18.6, 11.2, 19.4, 12.9],  # the last pixel
    ],
    dtype=np.float32,
)


@pytest.mark.parametrize("samples", [0, 1, 2])
@pytest.mark.parametrize("pooled", [(7, 7), (1, 3)])
def test_regions(samples: int, pooled: tuple[int, int]) -> None:
    check(REGIONS, replace(SPEC, samples=samples, pooled=pooled))


def test_scale() -> None:
    check(REGIONS * np.array([1, 8, 8, 8, 8], dtype=np.float32), replace(SPEC, scale=0.125))


def test_many_channels() -> None:
    check(REGIONS, replace(SPEC, channels=70))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corners=st.lists(st.floats(-10, 45, width=16), min_size=4, max_size=4),
)
def test_any_region(size: tuple[int, int], corners: list[float]) -> None:
    check(np.array([[1, *corners]], dtype=np.float32), replace(SPEC, height=size[0], width=size[1]))


def test_no_region_at_all() -> None:
    spec = replace(SPEC, regions=1)
    x, region = random(0, 2, 5, 12, 19), np.full((1, 5), np.nan, dtype=np.float32)
    region[0, 0] = 0
    ours = run(roi_align_func(spec, CPU), [x, region], (1, 5, 7, 7))
    assert ours.shape == (1, 5, 7, 7)  # whatever NaN means, it ends
