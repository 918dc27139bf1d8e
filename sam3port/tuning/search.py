"""The search for one workload's schedule: a sample of the space, the better ones again and longer, the best proved.

Every measurement is against the default, in turns with it (see `sam3port.tuning.duel`): what else the machine does
falls on both. A schedule counts as better only after it has won a last, long duel by more than `MARGIN`.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.scheduling.schedules import Schedule
from sam3port.kernels.cpu.workloads.workload import Workload
from sam3port.tuning.measure import Meter, Result
from sam3port.tuning.record import Kind, Machine, Record

MARGIN: Final = 0.02
"""What a schedule has to be faster by. Below that, noise decides."""
_WAVE: Final = 8
"""Schedules that are compiled at once: what an interrupt loses at most."""
_FIRST: Final = (3, 20)
"""Rounds, and milliseconds of a turn, of the sample;"""
_AGAIN: Final = (7, 40)
"""of its better quarter;"""
_PROOF: Final = (15, 60)
"""of the last duel."""
_FINALISTS: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for a workload."""

    workload: Workload
    candidates: tuple[Schedule, ...]
    """In the order in which they are measured, without the default."""


def plan(workload: Workload, cpu: Cpu, trials: int, seed: int) -> Plan:
    """A sample of the space, the same for a seed: what differs from the default in one decision comes first."""
    default, *others = workload.schedules(cpu)
    draw = random.Random(f"{seed} {workload.key}")
    near = [each for each in others if _decisions(default, each) == 1]
    far = [each for each in others if _decisions(default, each) > 1]
    draw.shuffle(near)
    draw.shuffle(far)
    return Plan(workload, tuple([*near, *far][:trials]))


def _decisions(a: Schedule, b: Schedule) -> int:
    """In how many decisions they differ; the shape of the register tile is one."""
    differing = {name for name, value in asdict(a).items() if value != asdict(b)[name]}
    tile = {"rows", "vectors", "value_vectors"}
    return len(differing - tile) + bool(differing & tile)


class Search:
    """Carries plans out."""

    def __init__(
        self,
        meter: Meter,
        cpu: Cpu,
        machine: Machine,
        about: Mapping[str, str],
        known: Iterable[Record],
        keep: Callable[[Record], None],
    ) -> None:
        """
        Args:
            meter: measures.
            about: versions and digest of the kernels. What was measured with others is measured again.
            known: what was measured before.
            keep: gets every record as soon as there is one.
        """
        self._meter, self._cpu, self._machine, self._about, self._keep = meter, cpu, machine, dict(about), keep
        own = [each for each in known if each.machine == machine and each.about == self._about]
        self._trials = {(each.workload, _frozen(each.schedule)): each for each in own if each.kind is Kind.TRIAL}
        self._best = {each.workload: each for each in own if each.kind is Kind.BEST}

    def missing(self, plan: Plan) -> list[Schedule]:
        """The candidates that have not been measured yet."""
        return [each for each in plan.candidates if self._known(plan.workload, each) is None]

    def run(self, plan: Plan, watch: Callable[[Record], None]) -> Record:
        """Measures what is missing and decides.

        Args:
            watch: is told every new measurement.

        Returns:
            The outcome, of `Kind.BEST`.
        """
        missing = self.missing(plan)
        if not missing and plan.workload.key in self._best:
            return self._best[plan.workload.key]
        for start in range(0, len(missing), _WAVE):
            self._measure(plan.workload, missing[start : start + _WAVE], _FIRST, watch)
        ranked = self._ranked(plan, plan.candidates)
        better = [each for each in ranked[: max(1, len(plan.candidates) // 4)] if self._ratio(plan, each) > 1]
        self._measure(plan.workload, [each for each in better if self._rounds(plan, each) < _AGAIN[0]], _AGAIN, watch)
        finalists = [each for each in self._ranked(plan, better) if self._ratio(plan, each) > 1][:_FINALISTS]
        for schedule in finalists:
            (proof,) = self._meter.measure(plan.workload, [schedule], *_PROOF)
            if proof.ratio is not None and proof.ratio > 1 + MARGIN:
                return self._decide(plan.workload, proof, tuned=True)
        default = plan.workload.default(self._cpu)
        seen = [each.default_seconds for (key, _), each in self._trials.items() if key == plan.workload.key]
        usual = statistics.median([each for each in seen if each is not None] or [math.nan])
        seconds = None if math.isnan(usual) else usual
        return self._decide(plan.workload, Result(default, seconds, seconds, 1.0, 0), tuned=False)

    def _measure(
        self, workload: Workload, schedules: list[Schedule], how: tuple[int, int], watch: Callable[[Record], None]
    ) -> None:
        if not schedules:
            return
        for result in self._meter.measure(workload, schedules, *how):
            record = self._record(Kind.TRIAL, workload, result)
            self._trials[workload.key, _frozen(record.schedule)] = record
            self._keep(record)
            watch(record)

    def _decide(self, workload: Workload, result: Result, *, tuned: bool) -> Record:
        record = self._record(Kind.BEST, workload, result, tuned=tuned)
        self._best[workload.key] = record
        self._keep(record)
        return record

    def _record(self, kind: Kind, workload: Workload, result: Result, *, tuned: bool = False) -> Record:
        return Record(
            kind, workload.key, self._machine, asdict(result.schedule), result.seconds, result.default_s, result.ratio,
            result.rounds, tuned, result.problem, self._about,
        )  # fmt: skip

    def _known(self, workload: Workload, schedule: Schedule) -> Record | None:
        return self._trials.get((workload.key, _frozen(asdict(schedule))))

    def _ratio(self, plan: Plan, schedule: Schedule) -> float:
        known = self._known(plan.workload, schedule)
        return known.ratio or 0.0 if known is not None else 0.0

    def _rounds(self, plan: Plan, schedule: Schedule) -> int:
        known = self._known(plan.workload, schedule)
        return known.rounds if known is not None else 0

    def _ranked(self, plan: Plan, schedules: Iterable[Schedule]) -> list[Schedule]:
        return sorted(schedules, key=lambda each: -self._ratio(plan, each))


def _frozen(sizes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(sizes.items()))
