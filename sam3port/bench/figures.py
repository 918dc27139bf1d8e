"""What a contest came to, in numbers."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from sam3port.bench.contestants import Contestant
from sam3port.verify.metrics import difference
from sam3port.verify.precision import BFLOAT16

NO_INSTRUCTION: Final = "this CPU has no instruction that multiplies bfloat16 faster than float32"
_INFINITE: Final = "inf"
"""In JSON, which has no number for it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant at one work."""

    component: str
    """A component's name; ``end-to-end: image`` and the like for the whole program."""
    contestant: Contestant
    dtype: str
    seconds: tuple[float, ...]
    """Of each run after the warm-up."""
    flops: int | None
    """Operations of a run; None where they were not counted."""
    bytes_moved: int | None
    """What a run reads and writes at least: weights, inputs and outputs. None where it was not counted."""
    peak_rss_bytes: int
    """The most that its process had in memory while it computed."""
    opened_s: float
    """From the start of the process until it could compute, compilation included where it happens then."""
    first_s: float
    max_abs_error: float | None
    """Against upstream in float64 (whole program: against upstream's scores), the worst output.

    Infinite where shapes differ; whole program: where one of the two kept no object.
    """

    @property
    def median_s(self) -> float:
        return float(np.median(self.seconds))

    def percentile(self, share: float) -> float:
        """Seconds within which this share (0..100) of the runs was done."""
        return float(np.percentile(self.seconds, share))

    @property
    def gflops(self) -> float | None:
        """10^9 operations a second."""
        return None if self.flops is None else self.flops / self.median_s / 1e9

    def as_json(self) -> dict[str, Any]:
        return {
            "component": self.component,
            "contestant": str(self.contestant),
            "dtype": self.dtype,
            "runs": len(self.seconds),
            "seconds": sorted([each, count] for each, count in Counter(map(_rounded, self.seconds)).items()),
            "median_s": self.median_s,
            "least_s": min(self.seconds),
            "p95_s": self.percentile(95),
            "p99_s": self.percentile(99),
            "gflops": self.gflops,
            "flops": self.flops,
            "bytes_moved": self.bytes_moved,
            "peak_rss_bytes": self.peak_rss_bytes,
            "opened_s": self.opened_s,
            "first_s": self.first_s,
            "max_abs_error": _INFINITE if self.max_abs_error == math.inf else self.max_abs_error,
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Row:
        """
        Raises:
            KeyError, TypeError, ValueError: it is no such row.
        """
        given = {each.name: content[each.name] for each in dataclasses.fields(Row)}
        seconds = tuple(float(each) for each, count in given["seconds"] for _ in range(count))
        if (error := given["max_abs_error"]) is not None:
            given["max_abs_error"] = float(error)
        return Row(**{**given, "contestant": Contestant(given["contestant"]), "seconds": seconds})


def _rounded(seconds: float) -> float:
    """To three digits: a small component runs thousands of times, and few of them differ by more."""
    return float(f"{seconds:.3g}")


@dataclass(frozen=True, slots=True)
class Absent:
    """A contestant that could not do a work."""

    component: str
    contestant: Contestant
    problem: str


@dataclass
class Results:
    """Everything that was measured."""

    rows: list[Row] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    float32_limits: list[float] = field(default_factory=list)
    """10^9 operations a second, one for each round."""
    bfloat16_limits: list[float] = field(default_factory=list)
    """The same; empty where the CPU has no instruction that multiplies bfloat16."""
    read_limits: list[float] = field(default_factory=list)
    """10^9 bytes a second."""

    @property
    def fma_limit(self) -> float | None:
        """10^9 operations a second in float32: the best that was seen, since a limit is what cannot be passed."""
        return max(self.float32_limits, default=None)

    @property
    def bfloat16_limit(self) -> float | None:
        """10^9 operations a second in bfloat16; None where nothing was measured, or there is no instruction for it."""
        return max(self.bfloat16_limits, default=None)

    def limit(self, dtype: str) -> float | None:
        """What bounds products in that type. Without an instruction for bfloat16 they are float32's multiply-adds."""
        return self.bfloat16_limit or self.fma_limit if dtype == BFLOAT16.name else self.fma_limit

    @property
    def read_limit(self) -> float | None:
        """10^9 bytes a second, likewise."""
        return max(self.read_limits, default=None)

    def row(self, component: str, contestant: Contestant) -> Row | None:
        """What that contestant came to."""
        return next((row for row in self.rows if (row.component, row.contestant) == (component, contestant)), None)

    def components(self) -> list[str]:
        named = [row.component for row in self.rows] + [each.component for each in self.absent]
        return list(dict.fromkeys(named))

    def speedup(self, component: str, over: Contestant) -> float | None:
        """How many times as fast the port is as another; None where one of them is absent."""
        ours, theirs = self.row(component, Contestant.TVM), self.row(component, over)
        return None if ours is None or theirs is None else theirs.median_s / ours.median_s

    def without(self, components: Sequence[str]) -> Results:
        """Everything but what is about these components."""
        rows = [row for row in self.rows if row.component not in components]
        return dataclasses.replace(
            self, rows=rows, absent=[each for each in self.absent if each.component not in components]
        )

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Results:
        """
        Raises:
            KeyError, TypeError, ValueError: these are no results.
        """

        def measured(limit: float | None) -> list[float]:
            return [] if limit is None else [float(limit)]

        return Results(
            [Row.from_json(row) for row in content["rows"]],
            [Absent(each["component"], Contestant(each["contestant"]), each["problem"]) for each in content["absent"]],
            measured(content["fma_limit_gflops"]["float32"]),
            measured(content["fma_limit_gflops"][BFLOAT16.name]),
            measured(content["read_limit_gbytes"]),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "fma_limit_gflops": {"float32": self.fma_limit, BFLOAT16.name: self.bfloat16_limit},
            "fma_limit_absent": {} if self.bfloat16_limit or not self.fma_limit else {BFLOAT16.name: NO_INSTRUCTION},
            "read_limit_gbytes": self.read_limit,
            "rows": [row.as_json() for row in self.rows],
            "absent": [dataclasses.asdict(each) for each in self.absent],
        }


def largest_difference(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest absolute difference of any element; infinite where shapes or what is finite differ.

    Booleans count as 0 and 1.
    """
    worst = 0.0
    for one, other in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True):
        if one.shape != other.shape:
            return math.inf
        if one.size:
            worst = max(worst, difference(one, other, 0.0, 1.0).max_absolute)
    return worst
