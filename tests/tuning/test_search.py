"""What is tried, what is tried again, and what counts as better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.scheduling.schedules import Schedule
from sam3port.kernels.cpu.workloads.workload import AttentionWork, LinearWork, Workload
from sam3port.tuning.measure import Result
from sam3port.tuning.record import Kind, Machine, Record
from sam3port.tuning.search import MARGIN, Plan, Search, plan
from tests.kernels.running import CPU

WORK = LinearWork(200, 256, 256)
HERE = Machine("znver3", 8, 16, 2)
ABOUT = {"tvm": "0.27", "kernels": "1"}


class Stopwatch:
    """In place of a machine: a schedule's gain is what the test says, so that the decision can be foreseen."""

    def __init__(self, gains: dict[Schedule, float], proof: float | None = None) -> None:
        self.gains, self.proof = gains, proof
        self.measured: list[tuple[Schedule, int]] = []

    def measure(self, workload: Workload, schedules: Sequence[Schedule], rounds: int, min_ms: int) -> Iterator[Result]:
        for schedule in schedules:
            self.measured.append((schedule, rounds))
            ratio = self.gains.get(schedule, 0.9)
            if rounds == 15 and self.proof is not None:
                ratio = self.proof
            yield Result(schedule, 1.0, 1.0 / ratio, ratio, rounds)


def searched(watch: Any, known: Sequence[Record], kept: list[Record], todo: Plan, **about: str) -> Record:
    search = Search(watch, CPU, HERE, ABOUT | about, known, kept.append)
    return search.run(todo, lambda _: None)


def test_a_plan_depends_on_nothing_but_seed_and_workload() -> None:
    assert plan(WORK, CPU, 20, 0) == plan(WORK, CPU, 20, 0)
    assert plan(WORK, CPU, 20, 0).candidates != plan(WORK, CPU, 20, 1).candidates
    assert plan(WORK, CPU, 30, 0).candidates[:20] == plan(WORK, CPU, 20, 0).candidates


def test_a_plan_has_each_schedule_once_and_begins_near_the_default() -> None:
    for work in (WORK, AttentionWork(AttentionSpec(1, 4, 200, 300, 32, 32, 0.2))):
        default = asdict(work.default(CPU))
        everything = plan(work, CPU, 10_000, 0).candidates
        assert len(set(everything)) == len(everything) == len(work.schedules(CPU)) - 1
        first = asdict(everything[0])
        differing = {name for name in first if first[name] != default[name]}
        assert len(differing) == 1 or differing <= {"rows", "vectors", "value_vectors"}


def test_the_best_is_measured_again_proved_and_kept() -> None:
    todo, kept = plan(WORK, CPU, 12, 0), []
    fast = todo.candidates[7]
    watch = Stopwatch({fast: 1.3, todo.candidates[2]: 1.2, todo.candidates[3]: 1.1})
    best = searched(watch, [], kept, todo)
    assert best.kind is Kind.BEST and best.tuned and best.schedule == asdict(fast) and best.ratio == 1.3
    assert [rounds for schedule, rounds in watch.measured if schedule == fast] == [3, 7, 15]
    assert kept[-1] == best and len(kept) == 12 + 3 + 1


def test_a_gain_within_the_margin_is_none() -> None:
    todo, kept = plan(WORK, CPU, 8, 0), []
    best = searched(Stopwatch({todo.candidates[0]: 1.5}, proof=1 + MARGIN), [], kept, todo)
    assert not best.tuned and best.schedule == asdict(WORK.default(CPU)) and best.ratio == 1.0
    assert best.default_seconds == 1.0


def test_nothing_better_needs_no_proof() -> None:
    todo, kept = plan(WORK, CPU, 8, 0), []
    watch = Stopwatch({})
    assert not searched(watch, [], kept, todo).tuned
    assert {rounds for _, rounds in watch.measured} == {3}


def test_what_was_measured_is_not_measured_again() -> None:
    todo, kept = plan(WORK, CPU, 8, 0), []
    gains = {todo.candidates[1]: 1.3}
    best = searched(Stopwatch(gains), [], kept, todo)
    again = Stopwatch(gains)
    assert searched(again, kept, [], todo) == best
    assert again.measured == []
    more = Stopwatch(gains)
    searched(more, kept, [], plan(WORK, CPU, 10, 0))
    assert [schedule for schedule, rounds in more.measured if rounds == 3] == [*plan(WORK, CPU, 10, 0).candidates[8:]]


def test_an_interrupted_search_goes_on_where_it_was() -> None:
    todo, kept = plan(WORK, CPU, 8, 0), []
    searched(Stopwatch({}), [], kept, todo)
    watch = Stopwatch({})
    searched(watch, kept[:5], [], todo)
    assert [schedule for schedule, _ in watch.measured] == list(todo.candidates[5:])


def test_other_kernels_or_another_machine_are_measured_anew() -> None:
    todo, kept = plan(WORK, CPU, 4, 0), []
    searched(Stopwatch({}), [], kept, todo)
    changed, moved = Stopwatch({}), Stopwatch({})
    searched(changed, kept, [], todo, kernels="2")
    searched(moved, [replace(r, machine=replace(HERE, cores=64)) for r in kept], [], todo)
    assert len(changed.measured) == len(moved.measured) == 4


def test_a_schedule_that_fails_is_remembered_and_never_chosen() -> None:
    class Failing(Stopwatch):
        def measure(self, workload: Workload, schedules: Sequence[Schedule], rounds: int, min_ms: int) -> Any:
            for schedule in schedules:
                self.measured.append((schedule, rounds))
                yield Result(schedule, None, None, None, rounds, "it crashed")

    todo, kept = plan(WORK, CPU, 4, 0), []
    assert not searched(Failing({}), [], kept, todo).tuned
    assert [r.problem for r in kept if r.kind is Kind.TRIAL] == ["it crashed"] * 4
    again = Failing({})
    searched(again, kept, [], todo)
    assert again.measured == []
