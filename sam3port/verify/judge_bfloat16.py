"""Decides whether an output computed in bfloat16 passes: no further from float64 than PyTorch's own bfloat16 is."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from sam3port.artifact.interface import TensorSpec
from sam3port.components.component import Tolerance
from sam3port.verify.judge import Array, Runs, Verdict, judge
from sam3port.verify.metrics import Difference, OwnError, difference, yardstick
from sam3port.verify.precision import BFLOAT16

MAX_RATIO: Final = BFLOAT16.max_ratio
"""Of the port's error against float64 to that of upstream under PyTorch's autocast."""


def judge_bfloat16(
    component: str,
    case: str,
    spec: TensorSpec,
    runs: Runs,
    autocast: Array,
    tolerance: Tolerance,
    usual: OwnError | None = None,
    usual_in_float32: OwnError | None = None,
) -> Verdict:
    """Compares the port, and upstream under ``torch.autocast("cpu", torch.bfloat16)``, with float64.

    Passes when the ratio of both errors is at most `MAX_RATIO`. An output that autocast leaves in float32 (a position
    encoding) may be as far off as float32 may be: what passes `judge` passes. Booleans and integers must be equal. The
    programs before compilation are float32, and are held to ``tolerance``.

    Args:
        autocast: the output of that run, as float32.
        usual: as in `yardstick`, of the autocast run.
        usual_in_float32: the same of float32.
    """
    as_float32 = judge(component, case, spec, runs, tolerance, usual_in_float32)
    if spec.dtype != "float32" or not as_float32.stages:
        return as_float32
    if autocast.shape != runs.float64.shape or autocast.dtype != np.float32:
        problem = f"the autocast run gives {autocast.dtype.name}{list(autocast.shape)}, {list(spec.shape)} should come"
        return replace(as_float32, problems=(problem,))
    torch, port = (difference(found, runs.float64, 0.0, 1.0) for found in (autocast, runs.compiled))
    own = torch.max_absolute if np.isfinite(torch.max_absolute) else 0.0
    ratio = _ratio(port, torch, runs, usual)
    problems = _before_compilation(runs, tolerance)
    if not as_float32.passed and not ratio <= MAX_RATIO:
        problems.append(
            f"{ratio:.3g} times as far from float64 as PyTorch's bfloat16 autocast is ({MAX_RATIO:g} is allowed),"
            f" furthest at {list(port.worst)}: {port.found:.8g} instead of {port.expected:.8g}"
        )
    # What stands for the tolerance is what autocast itself is off, which `excess` is measured in.
    allowed = Tolerance(0.0, own) if own else tolerance
    error = difference(runs.compiled, runs.reference, allowed.rtol, allowed.atol)
    return replace(as_float32, error=error, own=own, ratio=ratio, tolerance=allowed, problems=tuple(problems))


def _ratio(port: Difference, torch: Difference, runs: Runs, usual: OwnError | None) -> float:
    if not np.isfinite(torch.max_absolute):
        # Autocast itself overflows, or makes a NaN: there is no yardstick, and float32's rule decides alone.
        return float("inf")
    return yardstick(port, torch, runs.float64, usual)


def _before_compilation(runs: Runs, tolerance: Tolerance) -> list[str]:
    """A wrong patch must not hide behind what bfloat16 is allowed."""
    own = difference(runs.reference, runs.float64, 0.0, 1.0).max_absolute
    atol = tolerance.atol + (own if np.isfinite(own) else 0.0)
    exported = difference(runs.exported, runs.reference, tolerance.rtol, atol)
    if not exported.excess > 1:
        return []
    return [f"before it is compiled it is {exported.excess:.3g} times the tolerance off, in float32"]
