"""Products of few rows in bfloat16: the weights are rounded, the rows are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import tirx
from tvm.relax import op

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.formats.bfloat16 import WEIGHTS_WIDENED
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.policy import FEW_ROWS, Kind, Site, arithmetic_for
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from tests.kernels.cpu.test_dispatch import evaluate, module
from tests.kernels.reference import rounded
from tests.kernels.running import IN_FLOAT32, assert_as_exact, random, run
from tests.kernels.stand_in import PAIRED, WIDENED, stand_in

__all__ = ["stand_in"]
pytestmark = pytest.mark.usefixtures("stand_in")

FORMATS = pytest.mark.parametrize("arithmetic", [WIDENED, PAIRED], ids=["widened", "paired"])


@FORMATS
def test_which_rows_are_few(arithmetic: Arithmetic) -> None:
    for rows in (1, FEW_ROWS):
        assert of_few(arithmetic, rows).format == WEIGHTS_WIDENED
    assert of_few(arithmetic, FEW_ROWS + 1) == arithmetic
    assert of_few(arithmetic, tirx.Var("m", "int64")) == arithmetic, "unknown is many"


def of_few(arithmetic: Arithmetic, rows: Any, kind: Kind = Kind.LINEAR) -> Arithmetic:
    """What a product of so many rows is computed with, on the same CPU."""
    return arithmetic_for(Site(kind, rows), arithmetic.cpu, arithmetic.format.precision)


def check_linear(m: int, n: int, k: int, arithmetic: Arithmetic) -> None:
    arithmetic = of_few(arithmetic, m)
    x, weight = random(m, m, k), random(n, n, k)
    packed = gemm.pack_weight(weight, arithmetic)
    assert packed.itemsize == 2, "half of float32, in the artifact as in memory"
    ours = run(gemm.linear_func(m, n, k, arithmetic), [x, packed], (m, n))
    weight = rounded(weight)
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    assert_as_exact(ours, x @ weight.T, exact, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@FORMATS
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (1, 300, 65), (2, 2048, 256), (17, 101, 4097), (24, 37, 33)])
def test_linear(m: int, n: int, k: int, arithmetic: Arithmetic) -> None:
    check_linear(m, n, k, arithmetic)


@FORMATS
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(m=st.integers(1, FEW_ROWS), n=st.integers(1, 150), k=st.integers(1, 300))
def test_linear_of_any_size(arithmetic: Arithmetic, m: int, n: int, k: int) -> None:
    check_linear(m, n, k, arithmetic)


@FORMATS
@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_product_of_activations_is_float32(transpose_b: bool, arithmetic: Arithmetic) -> None:
    batch, m, n, k = 2, 5, 70, 33
    a, b = random(0, batch, m, k), random(1, batch, *((n, k) if transpose_b else (k, n)))
    ours, plain = (
        run(matmul_func(batch, m, n, k, each, transpose_b=transpose_b), [a, b], (batch, m, n))
        for each in (of_few(arithmetic, m, Kind.PRODUCT), IN_FLOAT32)
    )
    assert np.abs(ours - plain).max() <= 1e-6 * np.abs(plain).max()
    narrow = run(matmul_func(batch, m, n, k, arithmetic, transpose_b=transpose_b), [a, b], (batch, m, n))
    assert np.abs(narrow - plain).max() > 1e-4 * np.abs(plain).max(), "and not by chance"


@FORMATS
def test_an_attention_of_few_queries_is_float32_to_the_bit(arithmetic: Arithmetic) -> None:
    spec = AttentionSpec(1, 2, 7, 300, 16, 16, scale=0.25)
    arrays = [random(seed, 1, 2, length, 16) for seed, length in enumerate((7, 300, 300))]
    ours, plain = (
        run(attention_func(spec, each), arrays, (1, 2, 7, 16))
        for each in (of_few(arithmetic, 7, Kind.ATTENTION), IN_FLOAT32)
    )
    np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1])
def test_a_built_program_rounds_the_rows_of_many_only(rows: int) -> None:
    """A linear layer, then a product of activations."""
    x, y, weight = random(0, rows, 40), random(1, 64, 90), random(2, 64, 40)

    def build(emit: Any, x: Any, y: Any, w: Any) -> Any:
        hidden = emit(op.matmul(x, emit(op.permute_dims(w, [1, 0]))))
        return emit(op.matmul(hidden, y))

    (ours,) = evaluate(module([x.shape, y.shape], [weight.shape], build), [x, y], [weight], "bfloat16")
    exact = [each.astype(np.float64) for each in (x, rounded(weight).T, y)]
    error = np.abs(ours - exact[0] @ exact[1] @ exact[2]).max() / np.abs(ours).max()
    assert error < 1e-6 if rows <= FEW_ROWS else error > 1e-4
