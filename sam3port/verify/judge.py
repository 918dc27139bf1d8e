"""Decides whether an output passes, and pins a difference to the stage that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.components.component import TensorSpec, Tolerance
from sam3port.verify.metrics import Difference, as_json, difference, incomparable, yardstick

MAX_RATIO: Final = 4.0
"""The port's error against float64 may be at most this many times PyTorch float32's own."""

Array = NDArray[np.generic]

STAGES: Final = ("patches", "export", "tvm")
"""What lies between reference and port: patched vs. reference, exported vs. patched, TVM vs. exported."""


@dataclass(frozen=True, slots=True)
class Runs:
    """One output of one case, from every run."""

    reference: Array
    float64: Array
    patched: Array
    exported: Array
    compiled: Array


@dataclass(frozen=True, slots=True)
class Verdict:
    """One output of one case."""

    component: str
    case: str
    output: str
    error: Difference
    """The port against upstream's float32."""
    ratio: float
    """The port's error against float64 over PyTorch float32's own; 0 for outputs that are not floats."""
    stages: dict[str, float]
    """For each stage, the largest absolute error that it added."""
    tolerance: Tolerance
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        return {
            "component": self.component,
            "case": self.case,
            "output": self.output,
            "passed": self.passed,
            "problems": list(self.problems),
            "ratio_to_float64": self.ratio,
            "stages": self.stages,
            "rtol": self.tolerance.rtol,
            "atol": self.tolerance.atol,
            **as_json(self.error),
        }


def judge(component: str, case: str, spec: TensorSpec, runs: Runs, tolerance: Tolerance) -> Verdict:
    """Compares the port with upstream, and both with float64.

    Passes when every element is within ``tolerance`` **and** the ratio is at most `MAX_RATIO`; booleans and integers
    must be equal.
    """
    wrong = [
        f"{name} gives {array.dtype}{list(array.shape)}, not {runs.reference.dtype}{list(runs.reference.shape)}"
        for name, array in (("the port", runs.compiled), ("the exported program", runs.exported))
        if array.shape != runs.reference.shape
    ]
    if runs.compiled.dtype.name != spec.dtype:
        wrong.append(f"the port gives {runs.compiled.dtype}, {spec.dtype} is declared")
    if runs.compiled.shape != spec.shape:
        wrong.append(f"the port gives the shape {list(runs.compiled.shape)}, {list(spec.shape)} is declared")
    if wrong:
        return Verdict(component, case, spec.name, incomparable(), float("inf"), {}, tolerance, tuple(wrong))
    exact = spec.dtype != "float32"
    allowed = Tolerance(0.0, 0.0) if exact else tolerance
    error = difference(runs.compiled, runs.reference, allowed.rtol, allowed.atol)
    ratio = 0.0 if exact else _ratio(runs)
    problems = []
    if error.excess > 1:
        problems.append(
            f"{error.found:.8g} instead of {error.expected:.8g} at {list(error.worst)}:"
            f" {error.excess:.3g} times the tolerance"
        )
    if not ratio <= MAX_RATIO:
        problems.append(
            f"{ratio:.3g} times as far from float64 as PyTorch's float32 is; at most {MAX_RATIO:g} is right"
        )
    return Verdict(component, case, spec.name, error, ratio, _stages(runs), allowed, tuple(problems))


def _ratio(runs: Runs) -> float:
    port = difference(runs.compiled, runs.float64, 0.0, 1.0)
    torch = difference(runs.reference, runs.float64, 0.0, 1.0)
    if not np.isfinite(torch.max_absolute):
        # float32 itself overflows or changes a NaN here; the tolerance against float32 decides alone.
        return 0.0
    return yardstick(port, torch, runs.float64)


def _stages(runs: Runs) -> dict[str, float]:
    pairs = ((runs.patched, runs.reference), (runs.exported, runs.patched), (runs.compiled, runs.exported))
    return {
        stage: difference(after, before, 0.0, 1.0).max_absolute
        for stage, (after, before) in zip(STAGES, pairs, strict=True)
    }
