"""Products against numpy in float64; no less exact than numpy's own in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from tvm import tirx

from sam3port.errors import UsageError
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from tests.kernels.running import IN_FLOAT32, Array, assert_as_exact, compile_function, random, run


def linear(m: int, n: int, k: int) -> None:
    x, weight = random(m, m, k), random(n, n, k)
    ours = run(gemm.linear_func(m, n, k, IN_FLOAT32), [x, gemm.pack_weight(weight, IN_FLOAT32)], (m, n))
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    assert_as_exact(ours, x @ weight.T, exact, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (1, 1, 1),
        (1, 1024, 1024),
        (5, 3, 7),
        (6, 64, 16),
        (97, 101, 103),
        (96, 64, 256),
        (200, 256, 257),
        (193, 255, 513),
        (1031, 67, 300),
        (577, 1024, 1024),
    ],
)
def test_linear(m: int, n: int, k: int) -> None:
    linear(m, n, k)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(m=st.integers(1, 130), n=st.integers(1, 150), k=st.integers(1, 300))
def test_linear_of_any_size(m: int, n: int, k: int) -> None:
    linear(m, n, k)


def test_long_sums_are_as_exact_as_blas() -> None:
    """One chain of 4736 additions is four times less exact than BLAS on average."""
    torch = pytest.importorskip("torch")
    m, n, k = 48, 64, 4736
    x, weight = random(0, m, k), random(1, n, k)
    ours = run(gemm.linear_func(m, n, k, IN_FLOAT32), [x, gemm.pack_weight(weight, IN_FLOAT32)], (m, n))
    theirs = (torch.from_numpy(x) @ torch.from_numpy(weight).T).numpy()
    assert_as_exact(ours, theirs, x.astype(np.float64) @ weight.astype(np.float64).T)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("n", "k"), [(64, 32), (1, 3), (130, 17)])
def test_packing_on_the_host_and_by_kernel_agree(n: int, k: int, transposed: bool) -> None:
    weight = random(0, n, k)
    host = gemm.pack_weight(weight, IN_FLOAT32)
    function = gemm.pack_weight_func(n, k, IN_FLOAT32, transposed=transposed)
    np.testing.assert_array_equal(run(function, [weight.T if transposed else weight], host.shape), host)


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + special.erf(x / math.sqrt(2))))


@pytest.mark.parametrize(
    "steps",
    [
        ("add_vector",),
        ("relu",),
        ("add_vector", "gelu"),
        ("add_vector", "relu", "add_tensor"),
        ("add_vector", "multiply_vector", "add_tensor"),
        ("multiply_tensor", "sigmoid"),
    ],
)
@pytest.mark.parametrize(("m", "n", "k"), [(13, 70, 20), (12, 128, 300)])
def test_epilogues(steps: tuple[str, ...], m: int, n: int, k: int) -> None:
    x, weight = random(0, m, k), random(1, n, k)
    operands = [
        random(10 + i, *((n,) if step.endswith("vector") else (m, n))) for i, step in enumerate(steps) if "_" in step
    ]

    def reference(dtype: type) -> Array:
        value = x.astype(dtype) @ weight.astype(dtype).T
        remaining = iter(operands)
        for step in steps:
            if step == "relu":
                value = np.maximum(value, 0)
            elif step == "gelu":
                value = gelu(value)
            elif step == "sigmoid":
                value = special.expit(value)
            elif step.startswith("add"):
                value = value + next(remaining)
            else:
                value = value * next(remaining)
        return value

    ours = run(
        gemm.linear_func(m, n, k, IN_FLOAT32, steps), [x, gemm.pack_weight(weight, IN_FLOAT32), *operands], (m, n)
    )
    assert_as_exact(ours, reference(np.float32), reference(np.float64))


def test_unknown_step() -> None:
    with pytest.raises(UsageError, match="add_nothing"):
        gemm.linear_func(4, 4, 4, IN_FLOAT32, ("add_nothing",))


def test_unknown_number_of_rows() -> None:
    n, k = 70, 33
    weight = random(1, n, k)
    kernel = compile_function(gemm.linear_func(tirx.Var("m", "int64"), n, k, IN_FLOAT32, ("add_vector",)))
    bias, packed = random(2, n), tvm.runtime.tensor(gemm.pack_weight(weight, IN_FLOAT32))
    for m in (1, 5, 96, 211):
        x = random(m, m, k)
        out = tvm.runtime.tensor(np.full((m, n), np.nan, dtype=np.float32))
        kernel(tvm.runtime.tensor(x), packed, tvm.runtime.tensor(bias), out)
        exact = x.astype(np.float64) @ weight.astype(np.float64).T + bias
        assert_as_exact(out.numpy(), x @ weight.T + bias, exact)


def test_nan_and_infinity_come_through() -> None:
    x, weight = random(0, 7, 20), random(1, 30, 20)
    x[2, 3], x[5, 0] = np.nan, np.inf
    ours = run(gemm.linear_func(7, 30, 20, IN_FLOAT32, ("relu",)), [x, gemm.pack_weight(weight, IN_FLOAT32)], (7, 30))
    assert np.isnan(ours[2]).all() and not np.isnan(ours[[0, 1, 3, 4, 5, 6]]).any()
    assert np.isin(ours[5], [0, np.inf]).all()


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("batch", "m", "n", "k"), [(1, 1, 1, 1), (3, 50, 33, 70), (16, 24, 576, 64), (2, 200, 4, 256)])
def test_batched_matmul(batch: int, m: int, n: int, k: int, transpose_b: bool) -> None:
    a, b = random(0, batch, m, k), random(1, batch, *((n, k) if transpose_b else (k, n)))
    right = b.transpose(0, 2, 1) if transpose_b else b
    function: Any = matmul_func(batch, m, n, k, IN_FLOAT32, transpose_b=transpose_b)
    ours = run(function, [a, b], (batch, m, n))
    exact = a.astype(np.float64) @ right.astype(np.float64)
    assert_as_exact(ours, a @ right, exact, terms=float((np.abs(a) @ np.abs(right)).max()))
