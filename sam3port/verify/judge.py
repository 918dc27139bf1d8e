"""Decides whether an output passes, and pins a difference to the stage that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact.interface import TensorSpec
from sam3port.components.component import Tolerance
from sam3port.verify.metrics import Difference, OwnError, difference, incomparable, own_error, yardstick
from sam3port.verify.precision import FLOAT32

MAX_RATIO: Final = FLOAT32.max_ratio
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
    own: float
    """Upstream's own error in this case, in what is computed in (float32, or bfloat16 by autocast): the largest against
    float64; 0 for what is not floats."""
    ratio: float
    """The port's error against float64 over that of PyTorch's own; 0 for outputs that are not floats."""
    stages: dict[str, float]
    """For each stage, the largest absolute error that it added."""
    tolerance: Tolerance
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def stage(self) -> str:
        """The stage that added most; empty when nothing could be compared."""
        return max(self.stages, key=lambda stage: self.stages[stage]) if self.stages else ""

    def __str__(self) -> str:
        added = ", ".join(f"{stage} {error:.1e}" for stage, error in self.stages.items())
        pinned = f"; most of it came in at the stage {self.stage} ({added})" if self.stages else ""
        return f"{self.component}, {self.case}, {self.output}: {'; '.join(self.problems)}{pinned}"


def own(reference: Array, float64: Array) -> OwnError | None:
    """PyTorch's own error in one case (of its float32, or of autocast); None where it has none that can be measured."""
    if reference.shape != float64.shape or float64.dtype.name != "float64":
        return None
    torch = difference(reference, float64, 0.0, 1.0)
    return own_error(torch, float64) if np.isfinite(torch.max_absolute) else None


def judge(
    component: str,
    case: str,
    spec: TensorSpec,
    runs: Runs,
    tolerance: Tolerance,
    usual: OwnError | None = None,
) -> Verdict:
    """Compares the port with upstream, and both with float64.

    Passes when every element is within ``tolerance`` and upstream's own error, **and** the ratio is at most
    `MAX_RATIO`; booleans and integers must be equal. ``usual`` as in `yardstick`.
    """
    if misfits := _misfits(spec, runs):
        return Verdict(component, case, spec.name, incomparable(), 0.0, float("inf"), {}, tolerance, tuple(misfits))
    exact = spec.dtype != "float32"
    allowed = Tolerance(0.0, 0.0) if exact else tolerance
    torch = None if exact else difference(runs.reference, runs.float64, 0.0, 1.0)
    own_error = 0.0 if torch is None or not np.isfinite(torch.max_absolute) else torch.max_absolute
    # Nothing can be asked to be nearer to upstream than upstream is to itself computed exactly.
    error = difference(runs.compiled, runs.reference, allowed.rtol, allowed.atol + own_error)
    port = None if exact else difference(runs.compiled, runs.float64, 0.0, 1.0)
    ratio = 0.0 if port is None or torch is None else _ratio(port, torch, runs.float64, usual)
    problems = []
    if error.excess > 1:
        problems.append(
            f"{error.found:.8g} instead of {error.expected:.8g} at {list(error.worst)},"
            f" {error.excess:.3g} times the tolerance"
        )
    if port is not None and not ratio <= MAX_RATIO:
        problems.append(
            f"{ratio:.3g} times as far from float64 as PyTorch's float32 is ({MAX_RATIO:g} is allowed), furthest at"
            f" {list(port.worst)}: {port.found:.8g} instead of {port.expected:.8g}"
        )
    return Verdict(component, case, spec.name, error, own_error, ratio, _stages(runs), allowed, tuple(problems))


def _misfits(spec: TensorSpec, runs: Runs) -> list[str]:
    """Runs whose array cannot be what is declared."""
    shape = list(spec.shape)
    wrong = []
    for name in ("reference", "float64", "patched", "exported", "compiled"):
        array: Array = getattr(runs, name)
        dtype = "float64" if name == "float64" and spec.dtype == "float32" else spec.dtype
        if list(array.shape) != shape or array.dtype.name != dtype:
            wrong.append(
                f"the {name} run gives {array.dtype.name}{list(array.shape)}, {dtype}{shape} is what should come"
            )
    return wrong


def _ratio(port: Difference, torch: Difference, float64: Array, usual: OwnError | None) -> float:
    if not np.isfinite(torch.max_absolute):
        # float32 itself overflows or changes a NaN here; the tolerance against float32 decides alone.
        return 0.0
    return yardstick(port, torch, float64, usual)


def _stages(runs: Runs) -> dict[str, float]:
    pairs = ((runs.patched, runs.reference), (runs.exported, runs.patched), (runs.compiled, runs.exported))
    return {
        stage: difference(after, before, 0.0, 1.0).max_absolute
        for stage, (after, before) in zip(STAGES, pairs, strict=True)
    }
