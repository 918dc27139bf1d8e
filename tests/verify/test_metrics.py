"""The measures of a proof: right on known arrays, and able to fail."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sam3port.artifact.interface import TensorSpec
from sam3port.components.component import Tolerance
from sam3port.verify.judge import MAX_RATIO, Runs, Verdict, judge
from sam3port.verify.metrics import Difference, difference, own_error, typical, yardstick

FINITE = st.floats(-1e6, 1e6, width=32)
SOME = arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=5), elements=FINITE)


@given(SOME)
def test_equal_arrays_differ_by_nothing(array: np.ndarray) -> None:
    found = difference(array, array.copy(), 0.0, 0.0)
    assert (found.max_absolute, found.mean_absolute, found.max_relative, found.excess) == (0, 0, 0, 0)
    assert found.strict_share == 1


@given(SOME, st.data())
def test_one_wrong_element_is_found_and_named(array: np.ndarray, data: st.DataObject) -> None:
    index = tuple(data.draw(st.integers(0, side - 1)) for side in array.shape)
    wrong = array.astype(np.float64)
    wrong[index] += 10 + abs(wrong[index])
    found = difference(wrong, array, 1e-4, 1e-4)
    assert found.worst == index
    assert found.excess > 1
    assert found.max_absolute == pytest.approx(abs(wrong[index] - np.float64(array[index])))


def test_values_that_are_not_finite() -> None:
    inf, nan = math.inf, math.nan
    a = np.array([inf, -inf, nan, 1.0])
    assert difference(a, a.copy(), 0.0, 0.0).max_absolute == 0
    for other in ([-inf, -inf, nan, 1.0], [inf, -inf, 0.0, 1.0], [0.0, -inf, nan, 1.0], [inf, -inf, nan, nan]):
        found = difference(np.array(other), a, 1.0, 1.0)
        assert found.max_absolute == inf
        assert found.excess > 1


def test_nothing_and_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        difference(np.zeros((0, 3)), np.zeros((0, 3)), 1.0, 1.0)
    with pytest.raises(ValueError, match="shapes"):
        difference(np.zeros(3), np.zeros((3, 1)), 1.0, 1.0)


def test_the_strict_share_counts_elements() -> None:
    expected = np.ones(1000)
    found = expected.copy()
    found[:250] += 3e-5
    assert difference(found, expected, 1.0, 1.0).strict_share == 0.75


def test_the_yardstick_is_a_ratio_of_errors() -> None:
    random = np.random.default_rng(0)
    exact = random.standard_normal(10_000)
    torch = exact + 1e-6 * random.standard_normal(10_000)
    port = exact + 3e-6 * random.standard_normal(10_000)
    measured = yardstick(difference(port, exact, 0, 1), difference(torch, exact, 0, 1), exact)
    assert 2.5 < measured < 4.5
    zeros = np.zeros(3)
    assert yardstick(difference(zeros, zeros, 0, 1), difference(zeros, zeros, 0, 1), zeros) == 0
    off = np.array([0, 1e-9, 0])
    assert yardstick(difference(off, zeros, 0, 1), difference(zeros, zeros, 0, 1), zeros) == math.inf


def test_luck_in_one_case_does_not_bend_the_yardstick() -> None:
    """One number: PyTorch is nearer to float64 than it usually is, and the port as far as PyTorch usually is."""
    exact = np.array([0.5])

    def off(by: float) -> Difference:
        return difference(exact + by, exact, 0, 1)

    own = [own_error(off(by), exact) for by in (0.9e-7, 1.1e-7, 1e-6)]
    assert typical(own, 1).maximum == pytest.approx(2e-6)
    usual = typical(own, 1000)
    assert usual.maximum == pytest.approx(2.2e-7)
    assert yardstick(off(1.2e-7), off(1e-10), exact) > MAX_RATIO
    assert yardstick(off(1.2e-7), off(1e-10), exact, usual) == pytest.approx(1.2 / 1.1)
    # It only ever helps against luck: one bad case does not excuse another, a case's own error still counts.
    assert yardstick(off(5e-7), off(1e-10), exact, usual) > MAX_RATIO
    assert yardstick(off(1e-5), off(5e-6), exact, usual) == pytest.approx(2)


def runs(compiled: np.ndarray, exact: np.ndarray | None = None) -> Runs:
    base = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 20) if exact is None else exact
    reference = base.astype(np.float32)
    return Runs(reference, base.astype(np.float64) + 1e-8, reference, reference, compiled)


SPEC = TensorSpec("logits", (3, 20), "float32", "")
GOOD = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 20)


def test_a_right_output_passes() -> None:
    verdict = judge("c", "seed 1000", SPEC, runs(GOOD), Tolerance())
    assert verdict.passed
    assert verdict.ratio <= 1


def test_a_wrong_element_fails_with_its_index_and_stage() -> None:
    wrong = GOOD.copy()
    wrong[2, 7] += 0.01
    verdict = judge("c", "seed 1000", SPEC, runs(wrong), Tolerance())
    assert not verdict.passed
    assert "[2, 7]" in verdict.problems[0]
    assert verdict.stages["tvm"] == pytest.approx(0.01, rel=1e-3)
    assert verdict.stages["patches"] == verdict.stages["export"] == 0


def test_an_error_within_the_tolerance_but_far_from_float64_fails() -> None:
    verdict = judge("c", "seed 1000", SPEC, runs(GOOD + np.float32(5e-6)), Tolerance())
    assert verdict.error.excess < 1
    assert verdict.ratio > MAX_RATIO
    assert not verdict.passed


def test_nothing_has_to_be_nearer_to_upstream_than_upstream_is_to_the_exact_result() -> None:
    """A query of the decoder whose boxes feed on their own rounding: upstream is off there, the port is not."""
    reference = GOOD.copy()
    reference[1, 3] += 3e-3

    def of(compiled: np.ndarray) -> Verdict:
        seen = Runs(reference, GOOD.astype(np.float64), reference, reference, compiled)
        return judge("c", "seed 1000", SPEC, seen, Tolerance())

    nearer = GOOD.copy()
    nearer[1, 3] += 4e-4
    assert of(nearer).passed
    assert of(nearer).own == pytest.approx(3e-3, rel=1e-3)
    assert not of(GOOD - np.float32(4e-3)).passed, "nearly as far on the other side"
    # Where upstream is exact nothing changes.
    off = GOOD.copy()
    off[0, 0] += 2.2e-4
    assert not judge("c", "seed 1000", SPEC, runs(off), Tolerance()).passed


@pytest.mark.parametrize("wrong", [GOOD[:2], GOOD.astype(np.float64), np.full_like(GOOD, np.nan)])
def test_other_shapes_dtypes_and_nan_fail(wrong: np.ndarray) -> None:
    assert not judge("c", "seed 1000", SPEC, runs(wrong), Tolerance()).passed


def test_booleans_have_to_be_equal() -> None:
    spec = TensorSpec("mask", (4,), "bool", "")
    right = np.array([True, False, True, True])
    same = Runs(right, right, right, right, right.copy())
    assert judge("c", "x", spec, same, Tolerance(1.0, 1.0)).passed
    flipped = Runs(right, right, right, right, ~right)
    assert not judge("c", "x", spec, flipped, Tolerance(1.0, 1.0)).passed


def test_a_yardstick_of_another_type_or_shape_fails() -> None:
    right = runs(GOOD)
    for changed in (
        replace(right, float64=right.float64.astype(np.float32)),
        replace(right, float64=right.float64[:2]),
        replace(right, patched=right.patched[:2]),
        replace(right, exported=right.exported.astype(np.float64)),
    ):
        verdict = judge("c", "x", SPEC, changed, Tolerance())
        assert not verdict.passed
        assert "is what should come" in verdict.problems[0]
