"""Convolutions of each channel by itself against PyTorch's in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3port.kernels.cpu.convolutions.depthwise import DepthwiseSpec, depthwise_func
from tests.kernels.running import CPU, Array, assert_as_exact, random, run

torch = pytest.importorskip("torch")


def theirs(x: Array, weight: Array, spec: DepthwiseSpec, dtype: object) -> Array:
    top, left, bottom, right = spec.padding
    image, filters = torch.from_numpy(x).to(dtype), torch.from_numpy(weight).to(dtype)
    padded = torch.nn.functional.pad(image, (left, right, top, bottom))
    return np.asarray(
        torch.nn.functional.conv2d(padded, filters[:, None], dilation=spec.dilation, groups=spec.channels).numpy()
    )


def check(spec: DepthwiseSpec) -> None:
    x, weight = random(0, spec.batch, spec.channels, spec.height, spec.width), random(1, spec.channels, *spec.kernel)
    shape = (spec.batch, spec.channels, spec.out_height * spec.out_width)
    ours = run(depthwise_func(spec, CPU), [x, weight], shape)
    exact, plain = (theirs(x, weight, spec, dtype).reshape(shape) for dtype in (torch.float64, torch.float32))
    size = float(np.abs(weight).sum((1, 2)).max() * np.abs(x).max())
    assert_as_exact(ours, plain, exact, terms=size)


SPEC = DepthwiseSpec(2, 5, 12, 19, (7, 7), padding=(3, 3, 3, 3))


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, batch=1, channels=9, height=72, width=72),
        replace(SPEC, kernel=(1, 1), padding=(0, 0, 0, 0)),
        replace(SPEC, kernel=(3, 5), padding=(0, 4, 2, 1)),
        replace(SPEC, kernel=(3, 3), padding=(2, 2, 2, 2), dilation=(2, 2)),
        replace(SPEC, height=1, width=1),
        replace(SPEC, padding=(-1, -2, 3, -1), kernel=(2, 2)),
        replace(SPEC, width=131, kernel=(3, 3), padding=(1, 1, 1, 1)),
    ],
)
def test_shapes(spec: DepthwiseSpec) -> None:
    check(spec)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4), st.integers(2, 4)),
)
def test_any_size(size: tuple[int, int], kernel: tuple[int, int], padding: tuple[int, int, int, int]) -> None:
    check(DepthwiseSpec(1, 3, *size, kernel, padding))


def test_epilogue() -> None:
    x, weight, bias = random(0, 2, 5, 12, 19), random(1, 5, 7, 7), random(2, 5)
    shape = (2, 5, 12 * 19)
    ours = run(depthwise_func(SPEC, CPU, ("add_vector", "relu")), [x, weight, bias], shape)
    exact = np.maximum(theirs(x, weight, SPEC, torch.float64) + bias[None, :, None, None], 0).reshape(shape)
    np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-4)
