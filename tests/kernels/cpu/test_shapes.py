"""What is float32 in any case, in shapes that loops like least: one element, primes, one axis that is very long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.convolutions.depthwise import DepthwiseSpec
from sam3port.kernels.cpu.elementwise import normalisation
from sam3port.kernels.cpu.elementwise.roi_align import RoiAlignSpec
from tests.kernels import reference
from tests.kernels.cpu.convolutions.test_depthwise import check as check_depthwise
from tests.kernels.cpu.elementwise.test_roi_align import check as check_regions
from tests.kernels.running import CPU, IN_FLOAT32, Array, assert_as_exact, compile_function, random, run

LONG = 100_003
"""A prime, and more than there are rows, columns or keys in any block."""

SPEC = DepthwiseSpec(1, 3, 5, 7, (3, 3), padding=(1, 1, 1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 1, "height": 1, "width": 1, "kernel": (1, 1), "padding": (0, 0, 0, 0)},
        {"channels": 10_007},
        {"batch": 1009, "channels": 2},
        {"height": 10_007},
        {"width": 1009},
        {"height": 61, "width": 67, "kernel": (11, 13), "padding": (5, 6, 5, 6)},
    ],
    ids=str,
)
def test_depthwise(changes: dict[str, Any]) -> None:
    check_depthwise(replace(SPEC, **changes))


MAP = RoiAlignSpec(1, 3, 5, 7, 0, (7, 7), scale=1.0, samples=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 1, "height": 1, "width": 1, "pooled": (1, 1)},
        {"channels": 10_007},
        {"height": 1009, "width": 2, "pooled": (4, 4), "samples": 2},
        {"height": 2, "width": 1009, "pooled": (4, 4), "samples": 2},
        {"batch": 101},
        {"pooled": (61, 67), "samples": 3},
    ],
    ids=str,
)
def test_roi_align(changes: dict[str, Any]) -> None:
    """Regions across the whole map, its last item, and a prime number of them.

    Corners lie at quarters of a pixel: of 4 x 4 bins float32 knows the samples' places exactly, however far out,
    and none of 61 x 67 is just at -1, where rounding would decide whether it counts.
    """
    spec = replace(MAP, **changes)
    corners = np.random.default_rng(0).uniform(-1, 1.1, (13, 4)) * np.tile([spec.width, spec.height], 2)
    corners = np.rint(corners) + 0.25
    items = np.arange(13) % spec.batch
    items[-1] = spec.batch - 1
    check_regions(np.column_stack([items, corners]).astype(np.float32), spec)


@pytest.mark.parametrize(
    ("batch", "heads", "queries", "keys", "features", "value_features"),
    [
        (1, 1, 1, 2, 1, 1),
        (1, 1, 2, LONG, 3, 5),
        (1, 1, LONG, 3, 2, 3),
        (1009, 1, 2, 3, 5, 7),
        (1, 1009, 1, 2, 3, 1),
        (1, 1, 5, 7, 1009, 2),
        (1, 1, 5, 7, 2, 1009),
        (1, 3, 389, 397, 31, 37),
    ],
)
def test_attention(batch: int, heads: int, queries: int, keys: int, features: int, value_features: int) -> None:
    spec = AttentionSpec(batch, heads, queries, keys, features, value_features, scale=features**-0.5)
    shapes = ((queries, features), (keys, features), (keys, value_features))
    q, k, v = (random(seed, batch, heads, *shape) for seed, shape in enumerate(shapes))
    ours = run(attention_func(spec, IN_FLOAT32), [q, k, v], (batch, heads, queries, value_features))
    plain, exact = (reference.attention(q, k, v, spec.scale, dtype) for dtype in (np.float32, np.float64))
    assert_as_exact(ours, plain, exact, terms=float(np.abs(v).max()))


ROWS = [(2, 1), (1, 2), (3, LONG), (LONG, 3), (101, 103)]


def check_rows(rows: int, length: int) -> None:
    x, gamma, beta = random(0, rows, length), random(1, length), random(2, length)
    function = normalisation.layer_norm_func(rows, length, 1e-5, CPU)
    ours = run(function, [x, gamma, beta], x.shape)
    plain, exact = (reference.normalised(x, 1e-5, dtype) * gamma + beta for dtype in (np.float32, np.float64))
    terms = float((np.abs(x) / np.sqrt(x.astype(np.float64).var(-1, keepdims=True) + 1e-5)).max())
    assert_as_exact(ours, plain, exact, terms=terms * float(np.abs(gamma).max()))
    ours = run(normalisation.softmax_func(rows, length, CPU), [x], x.shape)
    plain, exact = (reference.softmax(x, dtype) for dtype in (np.float32, np.float64))
    assert_as_exact(ours, plain, exact)


@pytest.mark.parametrize(("rows", "length"), ROWS)
def test_layer_norm_and_softmax(rows: int, length: int) -> None:
    check_rows(rows, length)


def test_softmax_of_unknown_length() -> None:
    kernel = compile_function(normalisation.softmax_func(3, tirx.Var("n", "int64"), CPU))
    for length in (1, 7, 300, LONG):
        x = random(length, 3, length)
        out = tvm.runtime.tensor(np.full(x.shape, np.nan, dtype=np.float32))
        kernel(tvm.runtime.tensor(x), out)
        assert_as_exact(out.numpy(), reference.softmax(x, np.float32), reference.softmax(x, np.float64))


@settings(max_examples=3, deadline=None, derandomize=True)
@given(rows=st.integers(1, 300), length=st.integers(1, 1500))
def test_layer_norm_and_softmax_of_any_size(rows: int, length: int) -> None:
    check_rows(rows, length)


@pytest.mark.parametrize(
    ("batch", "channels", "size", "groups"),
    [(1, 1, 2, 1), (1, 2, LONG, 1), (1, 20_011, 3, 1), (1, 20_014, 2, 10_007), (1009, 2, 3, 2), (2, 35, 37, 7)],
)
def test_group_norm(batch: int, channels: int, size: int, groups: int) -> None:
    x, gamma, beta = random(0, batch, channels, size), random(1, channels), random(2, channels)
    lines = x.reshape(batch, groups, -1)

    def expected(dtype: type) -> Array:
        return reference.normalised(lines, 1e-5, dtype).reshape(x.shape) * gamma[:, None] + beta[:, None]

    function = normalisation.group_norm_func(batch, channels, size, groups, 1e-5, CPU)
    ours = run(function, [x, gamma, beta], x.shape)
    terms = float((np.abs(lines) / np.sqrt(lines.astype(np.float64).var(-1, keepdims=True) + 1e-5)).max())
    assert_as_exact(ours, expected(np.float32), expected(np.float64), terms=terms * float(np.abs(gamma).max()))
