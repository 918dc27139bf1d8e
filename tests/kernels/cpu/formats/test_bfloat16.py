"""Rounding to bfloat16, and products in it: exact products of rounded numbers, so as exact as float32's sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.convolutions import convolution as convolutions
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from sam3port.kernels.cpu.convolutions.transposed_convolution import transposed_convolution_func
from sam3port.kernels.cpu.formats import bfloat16_bits as bits
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from tests.kernels.running import CPU, Array, assert_as_exact, compile_function, random, run
from tests.kernels.stand_in import PAIRED, WIDENED, stand_in

torch = pytest.importorskip("torch")
functional = torch.nn.functional

__all__ = ["stand_in"]
pytestmark = pytest.mark.usefixtures("stand_in")

FORMATS = pytest.mark.parametrize("arithmetic", [WIDENED, PAIRED], ids=["widened", "paired"])
SIZES = [(1, 1, 1), (1, 300, 65), (5, 3, 7), (97, 101, 103), (200, 64, 256), (193, 255, 513), (577, 70, 1024)]


def rounded(x: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def test_a_small_sum_of_rounded_numbers_is_exact() -> None:
    """What the rest relies on: a product of two bfloat16 is a float32."""
    a, b = rounded(random(0, 1000)), rounded(random(1, 1000))
    np.testing.assert_array_equal(a * b, a.astype(np.float64) * b)


def edges() -> Array:
    """Every sign, exponent and upper half of the fraction, with what lies below, at and above a tie."""
    upper = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    below = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return np.asarray((upper[:, None] | below).reshape(-1).view(np.float32))


def along(action: Callable[[Any, int], Any], out: str) -> Any:
    lanes = CPU.lanes

    def body(x: Any, y: Any) -> None:
        with emit.serial(len(edges()) // lanes) as i:
            emit.store(y, action(emit.load(x, [i * lanes], lanes), lanes), [i * lanes], lanes)

    return emit.primfunc([("x", (len(edges()),)), ("y", (len(edges()),), out)], body)


def test_rounding_of_every_kind_of_number() -> None:
    x = edges()
    ours = run(along(bits.rounded, "float32"), [x], x.shape)
    np.testing.assert_array_equal(ours, rounded(x))
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(rounded(x)))
    np.testing.assert_array_equal(bits.narrowed(x).view(ml_dtypes.bfloat16).astype(np.float32), rounded(x))


def test_narrow_numbers_become_wide_again() -> None:
    x = edges()
    ours = run(along(lambda v, n: bits.widen(emit.bind(bits.narrow(v, n)), n), "float32"), [x], x.shape)
    np.testing.assert_array_equal(ours, rounded(x))


def check_linear(m: int, n: int, k: int, arithmetic: Arithmetic) -> None:
    x, weight = random(m, m, k), random(n, n, k)
    ours = run(gemm.linear_func(m, n, k, arithmetic), [x, gemm.pack_weight(weight, arithmetic)], (m, n))
    x, weight = rounded(x), rounded(weight)
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    assert_as_exact(ours, x @ weight.T, exact, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@FORMATS
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_linear(m: int, n: int, k: int, arithmetic: Arithmetic) -> None:
    check_linear(m, n, k, arithmetic)


@FORMATS
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(m=st.integers(1, 130), n=st.integers(1, 150), k=st.integers(1, 300))
def test_linear_of_any_size(arithmetic: Arithmetic, m: int, n: int, k: int) -> None:
    check_linear(m, n, k, arithmetic)


@FORMATS
@pytest.mark.parametrize("k", [32, 33])
def test_linear_with_all_that_follows_and_an_unknown_number_of_rows(k: int, arithmetic: Arithmetic) -> None:
    n = 70
    weight, bias, scale = random(1, n, k), random(2, n), random(3, n)
    steps = ("add_vector", "relu", "multiply_vector", "add_tensor")
    kernel = compile_function(gemm.linear_func(tirx.Var("m", "int64"), n, k, arithmetic, steps))
    given = [tvm.runtime.tensor(array) for array in (gemm.pack_weight(weight, arithmetic), bias, scale)]
    for m in (1, 5, 96, 211):
        x, residual = random(m, m, k), random(4, m, n)
        out = tvm.runtime.tensor(np.full((m, n), np.nan, dtype=np.float32))
        kernel(tvm.runtime.tensor(x), *given, tvm.runtime.tensor(residual), out)

        def reference(dtype: type, x: Array = x, residual: Array = residual) -> Array:
            product = rounded(x).astype(dtype) @ rounded(weight).T.astype(dtype)
            return np.maximum(product + bias, 0) * scale + residual

        exact = reference(np.float64)
        terms = (1 + len(steps)) * float(np.abs(exact).max())  # each of them rounds once
        assert_as_exact(out.numpy(), reference(np.float32), exact, terms=terms)


@FORMATS
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("batch", "m", "n", "k"), [(1, 1, 1, 1), (3, 50, 33, 71), (2, 200, 4, 256)])
def test_batched_matmul(batch: int, m: int, n: int, k: int, transpose_b: bool, arithmetic: Arithmetic) -> None:
    a, b = random(0, batch, m, k), random(1, batch, *((n, k) if transpose_b else (k, n)))
    ours = run(matmul_func(batch, m, n, k, arithmetic, transpose_b=transpose_b), [a, b], (batch, m, n))
    a, b = rounded(a), rounded(b.transpose(0, 2, 1) if transpose_b else b)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert_as_exact(ours, a @ b, exact, terms=float((np.abs(a) @ np.abs(b)).max()))


@FORMATS
@pytest.mark.parametrize(
    ("channels", "size", "features", "kernel", "stride", "padding", "steps"),
    [
        (1, (1, 1), 1, (1, 1), 1, 0, ()),
        (3, (7, 5), 4, (3, 3), 1, 1, ()),
        (5, (9, 33), 7, (3, 3), 2, 1, ("add_vector", "relu")),
        (3, (56, 56), 64, (14, 14), 14, 0, ()),
        (64, (37, 37), 300, (3, 3), 1, 1, ("multiply_vector",)),
        (301, (11, 13), 24, (1, 1), 1, 0, ("add_vector",)),
    ],
)
def test_convolution(
    channels: int,
    size: tuple[int, int],
    features: int,
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    steps: tuple[str, ...],
    arithmetic: Arithmetic,
) -> None:
    spec = ConvolutionSpec(2, channels, *size, features, kernel, (stride, stride), (padding,) * 4)
    x, weight, vector = random(0, 2, channels, *size), random(1, features, channels, *kernel), random(2, features)

    def reference(dtype: Any) -> Array:
        operands = (torch.from_numpy(rounded(array)).to(dtype) for array in (x, weight))
        value = functional.conv2d(*operands, stride=stride, padding=padding)
        other = torch.from_numpy(vector).to(dtype)[:, None, None]
        for step in steps:
            value = {"add_vector": value + other, "multiply_vector": value * other, "relu": value.relu()}[step]
        return np.asarray(value.reshape(2, features, -1).numpy())

    packed = convolutions.pack_convolution(weight, arithmetic)
    arrays = [x, packed, *([vector] if steps else [])]
    ours = run(convolutions.convolution_func(spec, arithmetic, steps), arrays, (2, features, spec.pixels))
    # Where an output has few terms, one rounding decides; all terms count as one of the sum's size does.
    size_of_sum = float(functional.conv2d(torch.from_numpy(x).abs(), torch.from_numpy(weight).abs()).max())
    assert_as_exact(ours, reference(torch.float32), reference(torch.float64), terms=size_of_sum)


@FORMATS
@pytest.mark.parametrize(("channels", "features", "kernel"), [(1, 1, (2, 2)), (33, 12, (2, 2)), (130, 7, (3, 2))])
def test_transposed_convolution(channels: int, features: int, kernel: tuple[int, int], arithmetic: Arithmetic) -> None:
    x, weight, bias = random(0, 2, channels, 5, 9), random(1, channels, features, *kernel), random(2, features)
    function = transposed_convolution_func(2, channels, (5, 9), features, kernel, arithmetic, ("add_vector",))
    shape = (2, features, 5 * kernel[0], 9 * kernel[1])
    ours = run(function, [x.reshape(2, channels, -1), convolutions.pack_transposed(weight, arithmetic), bias], shape)

    def reference(dtype: Any) -> Array:
        a, b, c = (torch.from_numpy(array).to(dtype) for array in (rounded(x), rounded(weight), bias))
        return np.asarray(functional.conv_transpose2d(a, b, c, stride=kernel).numpy())

    terms = float(np.abs(x).sum(1).max() * np.abs(weight).max())
    assert_as_exact(ours, reference(torch.float32), reference(torch.float64), terms=terms)


def on_the_host_and_by_kernel(host: Array, function: Any, weight: Array) -> None:
    packed = tvm.runtime.tensor(np.full(host.shape, 77, host.dtype))
    compile_function(function)(tvm.runtime.tensor(np.ascontiguousarray(weight)), packed)
    np.testing.assert_array_equal(packed.numpy(), host)


@FORMATS
@pytest.mark.parametrize(("n", "k"), [(64, 32), (1, 3), (130, 17)])
def test_packing_on_the_host_and_by_kernel_agree(n: int, k: int, arithmetic: Arithmetic) -> None:
    weight = random(0, n, k)
    host = gemm.pack_weight(weight, arithmetic)
    assert host.nbytes <= 2 * np.prod((host.shape[0], k + k % 2, host.shape[2])), "half of float32"
    for turned in (False, True):
        function = gemm.pack_weight_func(n, k, arithmetic, transposed=turned)
        on_the_host_and_by_kernel(host, function, weight.T if turned else weight)


@FORMATS
@pytest.mark.parametrize(("features", "channels", "kernel"), [(7, 3, (3, 3)), (300, 130, (1, 1)), (64, 64, (3, 2))])
def test_packing_of_convolutions(features: int, channels: int, kernel: tuple[int, int], arithmetic: Arithmetic) -> None:
    weight = random(0, features, channels, *kernel)
    function = convolutions.pack_convolution_func(features, channels, kernel, arithmetic)
    on_the_host_and_by_kernel(convolutions.pack_convolution(weight, arithmetic), function, weight)
    weight = random(0, channels, features, *kernel)
    function = convolutions.pack_transposed_func(channels, features, kernel, arithmetic)
    on_the_host_and_by_kernel(convolutions.pack_transposed(weight, arithmetic), function, weight)


@FORMATS
def test_nan_and_infinity_come_through(arithmetic: Arithmetic) -> None:
    x, weight = random(0, 7, 21), random(1, 30, 21)
    x[2, 3], x[5, 20], x[6, 0] = np.nan, np.inf, 3.4e38  # the last one is infinite in bfloat16
    ours = run(gemm.linear_func(7, 30, 21, arithmetic, ("relu",)), [x, gemm.pack_weight(weight, arithmetic)], (7, 30))
    assert np.isnan(ours[2]).all() and not np.isnan(ours[[0, 1, 3, 4, 5, 6]]).any()
    assert np.isin(ours[[5, 6]], [0, np.inf]).all() and np.isfinite(ours[[0, 1, 3, 4]]).all()


@FORMATS
def test_threads_do_not_change_a_bit(arithmetic: Arithmetic) -> None:
    m, n, k = 211, 130, 77
    kernel = compile_function(gemm.linear_func(m, n, k, arithmetic))
    given = [tvm.runtime.tensor(array) for array in (random(0, m, k), gemm.pack_weight(random(1, n, k), arithmetic))]
    results: list[Array] = []
    for _ in range(10):
        out = tvm.runtime.tensor(np.full((m, n), np.nan, dtype=np.float32))
        kernel(*given, out)
        results.append(out.numpy())
    assert all((result == results[0]).all() for result in results)
