"""Products of shapes that loops like least, in every type: one element, primes, one axis much longer than the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam3port.kernels.cpu.convolutions import convolution as convolutions
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from sam3port.kernels.cpu.convolutions.transposed_convolution import transposed_convolution_func
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from tests.kernels import reference
from tests.kernels.running import IN_FLOAT32, assert_as_exact, random, run
from tests.kernels.stand_in import PAIRED, WIDENED, stand_in

__all__ = ["stand_in"]
pytestmark = pytest.mark.usefixtures("stand_in")

LONG = 100_003
"""A prime, and more than there are rows, columns or steps in any block, chunk or window."""
FORMATS = pytest.mark.parametrize("arithmetic", [IN_FLOAT32, WIDENED, PAIRED], ids=["float32", "widened", "paired"])


def drawn(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@FORMATS
@pytest.mark.parametrize(
    ("m", "n", "k"), [(2, 1, 1), (1, 2, 1), (1, 1, 2), (LONG, 3, 5), (2, LONG, 3), (3, 2, LONG), (389, 7, 131)]
)
def test_linear(m: int, n: int, k: int, arithmetic: Arithmetic) -> None:
    x, weight = random(0, m, k), random(1, n, k)
    ours = run(gemm.linear_func(m, n, k, arithmetic), [x, gemm.pack_weight(weight, arithmetic)], (m, n))
    x, weight = (
        reference.rounded(x, arithmetic.format.precision),
        reference.rounded(weight, arithmetic.format.precision),
    )
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    assert_as_exact(ours, x @ weight.T, exact, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


def check_matmul(batch: int, m: int, n: int, k: int, turned: bool, arithmetic: Arithmetic) -> None:
    a, b = random(0, batch, m, k), random(1, batch, *((n, k) if turned else (k, n)))
    ours = run(matmul_func(batch, m, n, k, arithmetic, transpose_b=turned), [a, b], (batch, m, n))
    a, b = (
        reference.rounded(a, arithmetic.format.precision),
        reference.rounded(b.swapaxes(1, 2) if turned else b, arithmetic.format.precision),
    )
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert_as_exact(ours, a @ b, exact, terms=float((np.abs(a) @ np.abs(b)).max()))


@FORMATS
@pytest.mark.parametrize(
    ("batch", "m", "n", "k"), [(1, 1, 1, 2), (1009, 2, 3, 5), (2, LONG, 2, 3), (1, 2, LONG, 3), (1, 3, 2, LONG)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_matmul(batch: int, m: int, n: int, k: int, turned: bool, arithmetic: Arithmetic) -> None:
    check_matmul(batch, m, n, k, turned, arithmetic)


@FORMATS
@drawn(2)
@given(
    batch=st.integers(1, 5), m=st.integers(1, 130), n=st.integers(1, 90), k=st.integers(1, 300), turned=st.booleans()
)
def test_matmul_of_any_size(batch: int, m: int, n: int, k: int, turned: bool, arithmetic: Arithmetic) -> None:
    check_matmul(batch, m, n, k, turned, arithmetic)


def check_convolution(spec: ConvolutionSpec, arithmetic: Arithmetic) -> None:
    batch, channels, features = int(spec.batch), spec.channels, spec.features
    x, weight = random(0, batch, channels, spec.height, spec.width), random(1, features, channels, *spec.kernel)
    packed = convolutions.pack_convolution(weight, arithmetic)
    ours = run(convolutions.convolution_func(spec, arithmetic), [x, packed], (batch, features, spec.pixels))
    x, weight = (
        reference.rounded(x, arithmetic.format.precision),
        reference.rounded(weight, arithmetic.format.precision),
    )
    exact = reference.convolution(x, weight, spec, np.float64)
    assert exact.shape == (batch, features, spec.out_height, spec.out_width)
    plain = reference.convolution(x, weight, spec, np.float32)
    terms = float(reference.convolution(np.abs(x), np.abs(weight), spec, np.float32).max())
    assert_as_exact(ours.reshape(exact.shape), plain, exact, terms=terms)


@FORMATS
@pytest.mark.parametrize(
    "spec",
    [
        ConvolutionSpec(1, 2, 1, 1, 1, (1, 1)),
        ConvolutionSpec(1, 1, 2, 3, 1, (2, 3)),
        ConvolutionSpec(1, 2, 5, 20_011, 3, (3, 3), padding=(1, 1, 1, 1)),
        ConvolutionSpec(1, 3, 20_011, 1, 2, (3, 1)),
        ConvolutionSpec(1, 20_011, 3, 3, 2, (3, 3), padding=(1, 1, 1, 1)),
        ConvolutionSpec(1, 3, 3, 3, 20_011, (2, 2)),
        ConvolutionSpec(211, 3, 5, 7, 5, (3, 3), (2, 1)),
        ConvolutionSpec(1, 13, 61, 67, 17, (5, 3), (1, 2), (0, 2, 3, 1)),
    ],
    ids=lambda spec: f"{spec.batch}x{spec.channels}x{spec.height}x{spec.width}to{spec.features}",
)
def test_convolution(spec: ConvolutionSpec, arithmetic: Arithmetic) -> None:
    check_convolution(spec, arithmetic)


@FORMATS
@drawn(3)
@given(st.data())
def test_convolution_of_any_size(arithmetic: Arithmetic, data: st.DataObject) -> None:
    def two(least: int, most: int) -> tuple[int, int]:
        return data.draw(st.integers(least, most)), data.draw(st.integers(least, most))

    kernel, dilation = two(1, 4), two(1, 2)
    least = max(1, *(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)))
    spec = ConvolutionSpec(
        data.draw(st.integers(1, 3)), data.draw(st.integers(1, 90)), *two(least, 30), data.draw(st.integers(1, 40)),
        kernel, two(1, 3), (*two(0, 3), *two(0, 3)), dilation,
    )  # fmt: skip
    check_convolution(spec, arithmetic)


def check_transposed(
    batch: int, channels: int, size: tuple[int, int], weight_of: tuple[int, ...], arithmetic: Arithmetic
) -> None:
    features, kernel = weight_of[0], (weight_of[1], weight_of[2])
    x, weight = random(0, batch, channels, *size), random(1, channels, features, *kernel)
    function = transposed_convolution_func(batch, channels, size, features, kernel, arithmetic)
    shape = (batch, features, size[0] * kernel[0], size[1] * kernel[1])
    ours = run(function, [x.reshape(batch, channels, -1), convolutions.pack_transposed(weight, arithmetic)], shape)
    x, weight = (
        reference.rounded(x, arithmetic.format.precision),
        reference.rounded(weight, arithmetic.format.precision),
    )
    plain, exact = (reference.transposed_convolution(x, weight, dtype) for dtype in (np.float32, np.float64))
    terms = float(reference.transposed_convolution(np.abs(x), np.abs(weight), np.float32).max())
    assert_as_exact(ours, plain, exact, terms=terms)


@FORMATS
@pytest.mark.parametrize(
    ("batch", "channels", "size", "weight"),
    [
        (1, 2, (1, 1), (1, 1, 1)),
        (1, 3, (2, 20_011), (2, 2, 2)),
        (1, 2, (20_011, 1), (3, 1, 2)),
        (1, LONG, (1, 2), (1, 2, 2)),
        (1, 3, (3, 2), (20_011, 2, 2)),
        (101, 5, (3, 7), (2, 3, 2)),
    ],
)
def test_transposed_convolution(
    batch: int, channels: int, size: tuple[int, int], weight: tuple[int, int, int], arithmetic: Arithmetic
) -> None:
    check_transposed(batch, channels, size, weight, arithmetic)


@FORMATS
@drawn(2)
@given(
    channels=st.integers(1, 200),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    weight=st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4)),
)
def test_transposed_convolution_of_any_size(
    channels: int, size: tuple[int, int], weight: tuple[int, int, int], arithmetic: Arithmetic
) -> None:
    check_transposed(2, channels, size, weight, arithmetic)
