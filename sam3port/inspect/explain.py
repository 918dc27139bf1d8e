"""Where a built component's time goes: every kernel with its work, its schedule and its share of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.build.runner import Compiled
from sam3port.compiler.ir import load
from sam3port.compiler.stage import OPTIMISED

if TYPE_CHECKING:
    from sam3port.artifact.interface import Arrays

_ENOUGH_S: Final = 1.0
"""Runs are repeated until they have taken so long together: one of a millisecond says little."""
_MOST_RUNS: Final = 50


class Origin(StrEnum):
    """Who made a kernel's schedule."""

    KERNEL = "kernel"
    """Written for this work: sam3port/kernels."""
    RULE = "rule"
    """The rule for everything else: loops in parallel, vectors where it found any."""
    SERIAL = "serial"
    """Nobody: plain loops in one thread."""
    RUNTIME = "runtime"
    """No computation: memory, shapes, tuples."""


@dataclass(frozen=True, slots=True)
class Share:
    """One function of the library."""

    function: str
    """Its name there, and in a profiler."""
    origin: Origin
    kernel: str
    """What it is, for those of `Origin.KERNEL`."""
    schedule: str
    calls: int
    """In one run."""
    seconds: float
    """In one run, all calls."""
    share: float
    """Of the run, 0..1."""
    flops: int | None
    """Operations in one run, for kernels that know; 2 for a multiply-add."""

    @property
    def gflops(self) -> float | None:
        """10^9 operations a second."""
        return self.flops / self.seconds / 1e9 if self.flops and self.seconds else None


def explain(folder: Path, inputs: Arrays) -> list[Share]:
    """Runs a component and times each call in it.

    Args:
        folder: where ``sam3port build`` left it.
        inputs: what it computes.

    Returns:
        Every function that was called, the longest first.

    Raises:
        InputError: nothing compiled lies in ``folder``, or the inputs do not fit.
    """
    made = {name: _made(function) for name, function in _functions(folder)}
    component = Compiled(folder)
    given = component.tensors(inputs)
    # The first calls allocate: the second what the first one's outputs still hold.
    for _ in range(2):
        component.call(given)
    spent: dict[str, list[float]] = {}
    runs, started = 0, time.perf_counter()
    component.observe(lambda name, seconds: spent.setdefault(name, []).append(seconds))
    while runs < _MOST_RUNS and (not runs or time.perf_counter() - started < _ENOUGH_S):
        component.call(given)
        runs += 1
    whole = sum(map(sum, spent.values()))
    shares = []
    for name, times in spent.items():
        origin, kernel, schedule, flops = made.get(name, (Origin.RUNTIME, "", "", None))
        calls = len(times) // runs
        shares.append(
            Share(name, origin, kernel, schedule, calls, sum(times) / runs, sum(times) / whole, _times(flops, calls))
        )
    return sorted(shares, key=lambda each: -each.seconds)


def _times(flops: int | None, calls: int) -> int | None:
    return None if flops is None else flops * calls


def _functions(folder: Path) -> Iterator[tuple[str, Any]]:
    from tvm import tirx

    for name, function in load(folder / OPTIMISED).functions_items():
        if isinstance(function, tirx.PrimFunc):
            yield str(name.name_hint), function


def _made(function: Any) -> tuple[Origin, str, str, int | None]:
    attributes: Mapping[str, Any] = function.attrs or {}
    if "sam3port.kernel" in attributes:
        flops = attributes.get("sam3port.flops")
        schedule = str(attributes["sam3port.schedule"])
        return Origin.KERNEL, str(attributes["sam3port.kernel"]), schedule, None if flops is None else int(flops)
    kinds = _loops(function)
    said = [word for word in ("parallel", "vectorized") if word in kinds]
    return (Origin.RULE if said else Origin.SERIAL), "", ", ".join(said) or "one thread", None


def _loops(function: Any) -> set[str]:
    """The kinds of its loops."""
    import tvm_ffi
    from tvm import tirx

    names = {tirx.ForKind.PARALLEL: "parallel", tirx.ForKind.VECTORIZED: "vectorized"}
    kinds: set[str] = set()
    tvm_ffi.structural_walk(function.body, (tirx.For, lambda loop: kinds.add(names.get(loop.kind, "serial"))))
    return kinds
