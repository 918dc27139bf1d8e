"""Our exp and erf against float64, over their whole range and at its ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from sam3port.kernels.cpu.codegen import emit, expressions, lines
from tests.kernels.running import CPU, Array, run


def evaluate(expression: Callable[..., Any], x: Array) -> Array:
    def body(source: Any, out: Any) -> None:
        def write(at: Any, lanes: int) -> None:
            emit.store(out, expression(emit.load(source, [at], lanes), emit.bind, lanes), [at], lanes)

        lines.each(len(x), CPU.lanes, write)

    function = emit.primfunc([("x", x.shape), ("out", x.shape)], body)
    return run(function, [x.astype(np.float32)], x.shape)


def units_in_the_last_place(ours: Array, exact: Array) -> float:
    return float((np.abs(ours - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)).max())


@pytest.mark.parametrize(
    ("expression", "reference", "low", "high", "allowed"),
    [
        (expressions.exp, np.exp, -87.0, 88.7, 1.5),
        (expressions.exp, np.exp, -1e-3, 1e-3, 1.0),
        (expressions.exp_nonpositive, np.exp, -87.0, 0.0, 1.5),
        (expressions.exp2_nonpositive, np.exp2, -126.0, 0.0, 1.5),
        (expressions.erf, special.erf, -6.0, 6.0, 1.5),
        (expressions.erf, special.erf, -1e-3, 1e-3, 1.0),
        (expressions.sigmoid, special.expit, -80.0, 80.0, 3.0),
    ],
)
def test_close_to_float64(
    expression: Callable[..., Any],
    reference: Callable[[Array], Array],
    low: float,
    high: float,
    allowed: float,
) -> None:
    x = np.linspace(low, high, 100_003).astype(np.float32)
    assert units_in_the_last_place(evaluate(expression, x), reference(x.astype(np.float64))) <= allowed


def test_gelu_is_as_exact_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.linspace(-12, 12, 100_003).astype(np.float32)
    wide = x.astype(np.float64)
    exact = 0.5 * wide * (1 + special.erf(wide / np.sqrt(2)))
    theirs = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    ours = evaluate(expressions.gelu, x)
    assert np.abs(ours - exact).max() <= 1.5 * np.abs(theirs - exact).max()


def test_gelu_far_out() -> None:
    """PyTorch is no reference for infinity: with AVX-512 its vectors give NaN. For -infinity both do, it is times 0."""
    x = np.array([-np.inf, -1000, -20, -6, -1e-30, 0, 1e-30, 6, 20, 1000, np.inf, np.nan], dtype=np.float32)
    expected = [np.nan, -0.0, -0.0, -6 * special.ndtr(-6), -5e-31, 0, 5e-31, 6, 20, 1000, np.inf, np.nan]
    np.testing.assert_allclose(evaluate(expressions.gelu, x), np.float32(expected), rtol=2e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (expressions.exp, [np.nan, np.inf, 0, 1, 1, 6e-39, 0, np.inf, 1.1754944e-38]),
        (expressions.erf, [np.nan, 1, -1, 0, -0.0, -1, -1, 1, -1]),
        (expressions.relu, [np.nan, np.inf, 0, 0, 0, 0, 0, 89, 0]),
        (expressions.sigmoid, [np.nan, 1, 0, 0.5, 0.5, 6e-39, 0, 1, 1.1754944e-38]),
    ],
)
def test_ends_of_the_range(expression: Callable[..., Any], expected: list[float]) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, -88, -105, 89, -87.33654], dtype=np.float32)
    np.testing.assert_allclose(evaluate(expression, x), np.float32(expected), rtol=2e-2, atol=1e-45)


@pytest.mark.parametrize("expression", [expressions.exp_nonpositive, expressions.exp2_nonpositive])
def test_weights_of_hidden_keys_are_exactly_zero(expression: Callable[..., Any]) -> None:
    x = np.array([-np.inf, -1e30, -200.0, -127.0, 0.0, np.nan], dtype=np.float32)
    np.testing.assert_array_equal(evaluate(expression, x), np.float32([0, 0, 0, 0, 1, np.nan]))
