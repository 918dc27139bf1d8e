"""When an output computed in bfloat16 passes."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from sam3port.artifact.interface import TensorSpec
from sam3port.components.component import Tolerance
from sam3port.verify.judge import Runs, Verdict
from sam3port.verify.judge_bfloat16 import MAX_RATIO, judge_bfloat16
from sam3port.verify.metrics import OwnError

SPEC = TensorSpec("logits", (3, 20), "float32", "")
EXACT = np.linspace(-1, 1, 60).reshape(3, 20)
FLOAT32 = EXACT.astype(np.float32)
AUTOCAST = FLOAT32.astype(ml_dtypes.bfloat16).astype(np.float32)
ERROR = AUTOCAST - FLOAT32


def judged(compiled: NDArray[np.float32], autocast: NDArray[np.float32] = AUTOCAST, **other: object) -> Verdict:
    runs = replace(Runs(FLOAT32, EXACT, FLOAT32, FLOAT32, compiled), **other)  # type: ignore[arg-type]
    return judge_bfloat16("c", "seed 1000", SPEC, runs, autocast, Tolerance())


def test_no_further_from_float64_than_autocast_passes() -> None:
    verdict = judged(FLOAT32 + ERROR)
    assert verdict.passed
    assert verdict.ratio == pytest.approx(1, rel=1e-3)
    assert verdict.own == pytest.approx(float(np.abs(ERROR).max()), rel=1e-3)
    assert verdict.error.excess == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("times", "passes"), [(MAX_RATIO * 0.99, True), (MAX_RATIO * 1.01, False), (4.0, False)])
def test_the_bound_is_one_and_a_half_times_that(times: float, passes: bool) -> None:
    verdict = judged((FLOAT32 + np.float32(times) * ERROR).astype(np.float32))
    assert verdict.passed is passes
    assert passes or "1.5 is allowed" in verdict.problems[0]


def test_one_wrong_element_fails_with_its_place_and_stage() -> None:
    wrong = FLOAT32.copy()
    wrong[2, 7] += 0.05
    verdict = judged(wrong)
    assert not verdict.passed
    assert "[2, 7]" in verdict.problems[0]
    assert verdict.stage == "tvm"


def test_what_autocast_leaves_in_float32_may_be_off_as_float32_may() -> None:
    """A position encoding: PyTorch has hardly an error there, whichever way."""
    nearly = FLOAT32.copy()
    nearly[2, 19] = np.nextafter(np.nextafter(np.float32(1), np.float32(2)), np.float32(2))
    verdict = judged(nearly, autocast=FLOAT32)
    assert verdict.passed and verdict.ratio > MAX_RATIO
    assert not judged(FLOAT32 + np.float32(2e-4), autocast=FLOAT32).passed


def test_the_typical_case_counts_where_one_is_lucky() -> None:
    runs = Runs(FLOAT32, EXACT, FLOAT32, FLOAT32, FLOAT32 + ERROR)
    lucky = FLOAT32 + ERROR / 8
    assert not judge_bfloat16("c", "x", SPEC, runs, lucky, Tolerance()).passed
    usual = OwnError(float(np.abs(ERROR).max()), float(np.sqrt(np.square(ERROR).mean())))
    assert judge_bfloat16("c", "x", SPEC, runs, lucky, Tolerance(), usual).passed


def test_a_wrong_patch_cannot_hide_behind_bfloat16() -> None:
    """An error that the port may have, but that was there before anything was rounded."""
    exported = FLOAT32 + ERROR
    verdict = judged(exported, exported=exported)
    assert not verdict.passed
    assert "before it is compiled" in verdict.problems[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails_unless_upstream_says_so(value: float) -> None:
    broken = FLOAT32.copy()
    broken[0, 0] = value
    assert not judged(broken).passed
    there = dict.fromkeys(("reference", "patched", "exported"), broken)
    exact = EXACT.copy()
    exact[0, 0] = value
    assert judged(broken, autocast=np.where(np.isfinite(broken), AUTOCAST, broken), float64=exact, **there).passed


def test_where_autocast_itself_overflows_float32_is_the_yardstick() -> None:
    overflowing = AUTOCAST.copy()
    overflowing[0, 0] = np.inf
    assert judged(FLOAT32, autocast=overflowing).passed
    assert not judged(FLOAT32 + ERROR, autocast=overflowing).passed


def test_booleans_have_to_be_equal() -> None:
    spec = TensorSpec("mask", (4,), "bool", "")
    right = np.array([True, False, True, True])
    for compiled, passes in ((right.copy(), True), (~right, False)):
        runs = Runs(right, right, right, right, compiled)
        assert judge_bfloat16("c", "x", spec, runs, right, Tolerance()).passed is passes


def test_a_yardstick_of_another_type_or_shape_fails() -> None:
    for autocast in (AUTOCAST[:2], AUTOCAST.astype(np.float64)):
        verdict = judged(FLOAT32, autocast=autocast)
        assert not verdict.passed
        assert "the autocast run gives" in verdict.problems[0]
