"""Which schedules a build uses, and that it is built anew when they change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sam3port.build.keys import stage_keys
from sam3port.build.request import BuildRequest
from sam3port.compiler.stage import ORDER, Stage
from sam3port.errors import UsageError
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule
from sam3port.kernels.cpu.workloads.tuned import TunedSchedules, schedule_of
from sam3port.kernels.cpu.workloads.workload import LinearWork
from sam3port.patching.install import make_plan
from sam3port.tuning import sources
from sam3port.tuning.database import Database
from sam3port.tuning.record import Kind, Machine, Record, TunedSchedule
from sam3port.upstream.source import Upstream
from tests.tuning.test_database import BEST, HERE

WORK = BEST.workload


def of(mcpu: str, rows: int = 6, lanes: int = 8, registers: int = 16, cores: int = 2) -> TunedSchedule:
    return TunedSchedule(WORK, Machine(mcpu, lanes, registers, cores), {"rows": rows}, "somewhere")


@pytest.mark.parametrize(
    ("measured", "fits"),
    [
        (of("znver3"), True),
        (of("znver3", cores=4), True),
        (of("znver3", cores=64), False),
        (of("x86-64-v3"), True),
        (of("x86-64-v3", cores=16), False),
        (of("haswell"), False),
        (of("x86-64-v4", lanes=16, registers=32), False),
        (of("znver3", lanes=16, registers=32), False),
        (of("generic", lanes=4, registers=32), False),
    ],
)
def test_only_what_was_measured_on_such_a_machine_is_used(measured: TunedSchedule, fits: bool) -> None:
    assert bool(sources.fitting([measured], HERE)) is fits


def test_the_first_counts_but_the_very_cpu_before_a_generic_one() -> None:
    given = [of("x86-64-v3", 1), of("znver3", 2), of("znver3", 3)]
    assert sources.fitting(given, HERE)[WORK].schedule == {"rows": 2}


def test_where_the_default_was_best_no_other_schedule_is_used() -> None:
    given = [replace(of("znver3"), better=False), of("x86-64-v3", 1)]
    kernels = sources.for_kernels(sources.fitting(given, HERE))
    assert kernels._sizes == {}


def test_the_users_database_comes_before_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SHIPPED", tmp_path / "shipped")
    assert sources.usual_schedules() == ()
    Database(tmp_path / "shipped" / "a.jsonl").add(replace(BEST, schedule={"rows": 1}))
    Database(sources.user_database()).add(replace(BEST, schedule={"rows": 2}))
    Database(tmp_path / "named.jsonl").add(replace(BEST, schedule={"rows": 3}))
    assert [each.schedule["rows"] for each in sources.chosen_schedules(None, untuned=False)] == [2, 1]
    assert [each.schedule["rows"] for each in sources.chosen_schedules(tmp_path / "named.jsonl", False)] == [3, 2, 1]
    assert sources.chosen_schedules(None, untuned=True) == ()
    said = sources.described_schedules(sources.chosen_schedules(tmp_path / "named.jsonl", False))
    assert said == "1 in named.jsonl, 1 in your database"
    assert sources.described_schedules(each for each in sources.usual_schedules() if each.source == "shipped") == ""
    with pytest.raises(UsageError, match="there is no database"):
        sources.schedules_of(tmp_path / "nowhere.jsonl")


SHIPPED = [(file, record) for file in sorted(sources.SHIPPED.glob("*.jsonl")) for record in Database(file).records()]


def test_what_is_shipped_are_outcomes_one_for_a_workload() -> None:
    assert SHIPPED, "no schedules come with sam3port"
    assert {record.kind for _, record in SHIPPED} == {Kind.BEST}
    places = [(record.workload, record.machine) for _, record in SHIPPED]
    assert len(places) == len(set(places))
    assert all(file.stem == record.machine.mcpu for file, record in SHIPPED)


@pytest.mark.parametrize(
    "record",
    [record for _, record in SHIPPED if record.tuned],
    ids=lambda each: f"{each.machine.mcpu} {each.workload}",
)
def test_kernels_take_what_is_shipped(record: Record) -> None:
    """A schedule that had gone stale, by a renamed field or a new check, would be passed over without a word."""
    machine = record.machine
    cpu = Cpu(machine.lanes, machine.registers, machine.cores)
    schedule = schedule_of(record.schedule)
    assert schedule is not None and record.ratio is not None and record.ratio > 1
    if isinstance(schedule, ProductSchedule):
        assert schedule.problem(cpu) is None
    kind, shape, *rest = record.workload.split()
    if kind == "linear":
        rows, columns, depth = map(int, shape.split("x"))
        work = LinearWork(rows, columns, depth, tuple(rest[0].split(",")) if len(rest) == 2 else ())
        assert work.key == record.workload
        assert TunedSchedules({record.workload: record.schedule}).product(work, cpu) == schedule


def keys(*tuned: TunedSchedule, **options: str) -> dict[Stage, str]:
    request = BuildRequest(components=("scoring_head",), tuned=tuned, target_options=options)
    return stage_keys(request, make_plan(None, frozenset()))["scoring_head"]


def test_a_build_depends_on_the_schedules_that_may_fit(upstream_source: Upstream) -> None:
    assert upstream_source.pinned
    one, other = keys(of("znver3", 1)), keys(of("znver3", 2))
    assert [stage for stage in ORDER if one[stage] == other[stage]] == [Stage.EXPORT, Stage.IMPORT]
    assert one == keys(of("znver3", 1)) != keys()
    assert keys(mcpu="haswell") == keys(of("znver3", 1), mcpu="haswell")
    assert keys(mcpu="haswell") != keys(of("x86-64-v3", 1), mcpu="haswell")
    assert keys(mcpu="znver3") != keys(of("znver3", 1), mcpu="znver3")


def test_a_request_travels_with_its_schedules() -> None:
    import json

    request = BuildRequest(components=("scoring_head",), tuned=(of("znver3"), of("x86-64-v3")))
    assert BuildRequest.from_json(json.loads(json.dumps(request.as_json()))) == request
