"""3x3 convolutions by minimal filtering against PyTorch in float64, and where they take the place of plain ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3port.kernels.cpu.convolutions import winograd
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from sam3port.kernels.cpu.formats.format import Arithmetic
from tests.kernels.running import CPU, IN_FLOAT32, Array, assert_as_exact, random, run
from tests.kernels.stand_in import PAIRED, WIDENED

torch = pytest.importorskip("torch")
SPEC = ConvolutionSpec(1, 32, 20, 22, 40, (3, 3), padding=(1, 1, 1, 1))
RATIO = {"float32": 3.0, "bfloat16": 8.0}
"""Errors over those of a plain sum in float32. The scheme for bfloat16 builds gives up digits that these do not have
anyway: see `test_in_bfloat16_builds_it_is_far_more_exact_than_they_are`."""


def convolved(spec: ConvolutionSpec, x: Array, weight: Array, dtype: Any) -> Array:
    top, left, bottom, right = spec.padding
    padded = torch.nn.functional.pad(torch.from_numpy(x).to(dtype), (left, right, top, bottom))
    found: Array = torch.nn.functional.conv2d(padded, torch.from_numpy(weight).to(dtype)).numpy()
    return found


def check(spec: ConvolutionSpec, seed: int = 0, arithmetic: Arithmetic = IN_FLOAT32) -> None:
    x = random(seed, spec.batch, spec.channels, spec.height, spec.width)
    weight, bias = random(seed + 1, spec.features, spec.channels, 3, 3), random(seed + 2, spec.features)
    packed = winograd.pack_winograd(weight, spec, arithmetic)
    function = winograd.winograd_func(spec, arithmetic, ("add_vector",))
    ours = run(function, [x, packed, bias], (spec.batch, spec.features, spec.pixels))
    shape = (spec.batch, spec.features, spec.out_height, spec.out_width)
    plain, exact = (convolved(spec, x, weight, each) + bias[:, None, None] for each in (torch.float32, torch.float64))
    # What is summed: each result is a sum of products that are sums of a few inputs.
    terms = float(np.abs(x).max() * np.abs(weight).max() * 9 * np.sqrt(spec.channels))
    assert_as_exact(ours.reshape(shape), plain, exact, ratio=RATIO[arithmetic.format.precision], terms=terms)


@pytest.mark.parametrize("arithmetic", [IN_FLOAT32, WIDENED], ids=["F2", "F4"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch": 3},
        {"height": 16, "width": 16, "padding": (0, 0, 0, 0)},
        {"height": 72, "width": 72, "channels": 256, "features": 256},
        {"height": 31, "width": 61, "channels": 37, "features": 41},
        {"height": 300, "width": 1},
        {"height": 1, "width": 300},
        {"height": 288, "width": 3, "padding": (2, 0, 1, 3)},
        {"channels": 1, "features": 1},
        {"channels": 521, "features": 33},
    ],
    ids=str,
)
def test_shapes(changes: dict[str, Any], arithmetic: Arithmetic) -> None:
    check(replace(SPEC, **changes), arithmetic=arithmetic)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 70), st.integers(3, 40), st.integers(3, 40), st.integers(1, 50),
    st.tuples(*[st.integers(0, 2)] * 4), st.integers(0, 99),
)  # fmt: skip
def test_any_shape(
    batch: int, channels: int, height: int, width: int, features: int, padding: tuple[int, int, int, int], seed: int
) -> None:
    check(ConvolutionSpec(batch, channels, height, width, features, (3, 3), padding=padding), seed)


@pytest.mark.parametrize("arithmetic", [IN_FLOAT32, WIDENED], ids=["F2", "F4"])
@pytest.mark.parametrize(("features", "channels"), [(40, 32), (6, 300), (1, 1)])
def test_a_weight_packed_while_running_has_the_same_bits(features: int, channels: int, arithmetic: Arithmetic) -> None:
    spec = replace(SPEC, features=features, channels=channels)
    weight = random(0, features, channels, 3, 3)
    packed = winograd.pack_winograd(weight, spec, arithmetic)
    assert packed.shape == winograd.packed_shape(spec, arithmetic)
    np.testing.assert_array_equal(run(winograd.pack_winograd_func(spec, arithmetic), [weight], packed.shape), packed)


def test_the_steps_that_follow() -> None:
    x, weight = random(0, 1, 32, 17, 19), random(1, 40, 32, 3, 3) * np.float32(0.05)
    spec = replace(SPEC, height=17, width=19)
    scale, residual = random(2, 40), random(3, 1, 40, spec.pixels)
    function = winograd.winograd_func(spec, IN_FLOAT32, ("multiply_vector", "gelu", "add_tensor"))
    ours = run(function, [x, winograd.pack_winograd(weight, spec, IN_FLOAT32), scale, residual], residual.shape)

    def chain(dtype: Any) -> Array:
        plain = torch.from_numpy(convolved(spec, x, weight, dtype)).reshape(residual.shape)
        found: Array = (torch.nn.functional.gelu(plain * torch.from_numpy(scale)[:, None]) + residual).numpy()
        return found

    assert_as_exact(ours, chain(torch.float32), chain(torch.float64), ratio=3.0, terms=4.0)


@pytest.mark.parametrize(
    ("arithmetic", "spoilt_within"), [(IN_FLOAT32, slice(10, 16)), (WIDENED, slice(8, 16))], ids=["F2", "F4"]
)
def test_not_a_number_stays_where_it_is_read(arithmetic: Arithmetic, spoilt_within: slice) -> None:
    """A NaN spoils the tiles that read it, and no others."""
    spec = replace(SPEC, height=24, width=24)
    x, weight = random(0, 1, 32, 24, 24), random(1, 40, 32, 3, 3)
    x[0, 5, 12, 12] = np.nan
    packed = winograd.pack_winograd(weight, spec, arithmetic)
    ours = run(winograd.winograd_func(spec, arithmetic), [x, packed], (1, 40, 576))
    spoilt = np.isnan(ours.reshape(40, 24, 24)).any(0)
    assert spoilt[11:14, 11:14].all()
    spoilt[spoilt_within, spoilt_within] = False
    assert not spoilt.any()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"kernel": (1, 1)}, False),
        ({"kernel": (3, 1)}, False),
        ({"stride": (2, 2)}, False),
        ({"dilation": (2, 2)}, False),
        ({"channels": 3}, False),
        ({"features": 4}, False),
        ({"height": 4, "width": 4}, False),
    ],
    ids=str,
)
def test_where_it_fits(changes: dict[str, Any], found: bool) -> None:
    assert winograd.fits(replace(SPEC, **changes), CPU) is found
    assert not winograd.fits(SPEC, replace(CPU, lanes=1))


@pytest.mark.parametrize("arithmetic", [WIDENED, PAIRED], ids=["widened", "paired"])
def test_in_bfloat16_it_stays_float32(arithmetic: Arithmetic) -> None:
    assert winograd.fits(SPEC, arithmetic.cpu)
    check(SPEC, arithmetic=arithmetic)


def test_in_bfloat16_builds_it_is_far_more_exact_than_they_are() -> None:
    spec = replace(SPEC, channels=256)
    x, weight = random(0, 1, 256, 20, 22), random(1, 40, 256, 3, 3)
    exact = convolved(spec, x, weight, torch.float64)
    rounded = (torch.from_numpy(each).bfloat16().float().numpy() for each in (x, weight))
    usual = convolved(spec, *rounded, torch.float64)
    ours = run(winograd.winograd_func(spec, WIDENED), [x, winograd.pack_winograd(weight, spec, WIDENED)], (1, 40, 440))
    assert np.abs(ours.reshape(exact.shape) - exact).max() < np.abs(usual - exact).max() / 300
