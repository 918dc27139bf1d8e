"""What `sam3port tune` found: before and after."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sam3port.tuning.components import Work
    from sam3port.tuning.record import Record

Found = Sequence[tuple["Work", "Record"]]
MARKDOWN: Final = "TUNING.md"
_HEADINGS: Final = ("workload", "calls", "default ms", "measured ms", "ratio", "schedule")


def content(found: Found, database: Path, *, interrupted: bool) -> dict[str, Any]:
    """The same for machines."""
    return {
        "database": str(database),
        "interrupted": interrupted,
        "rows": [
            {
                "workload": record.workload,
                "components": work.calls,
                "flops": work.flops,
                "default_s": record.default_seconds,
                "tuned_s": record.seconds,
                "ratio": record.ratio,
                "tuned": record.tuned,
                "schedule": dict(record.schedule),
                "machine": dataclasses.asdict(record.machine),
            }
            for work, record in found
        ],
    }


def write_report(found: Found, folder: Path, command: str) -> Path:
    """A table before and after, in Markdown; whole or not at all."""
    from sam3port.bench.run import machine
    from sam3port.placing import replacing

    folder.mkdir(parents=True, exist_ok=True)
    machines = dict.fromkeys(record.machine for _, record in found)
    about = [f"{each.mcpu}, vectors of {each.lanes}, {each.cores} cores" for each in machines]
    text = "\n".join(
        [
            "# Schedules that were measured",
            "",
            f"{machine()}; code for {'; '.join(about)}. Made by",
            "",
            f"```sh\n{command}\n```",
            "",
            "*default*: the schedule that is computed from shape and registers. *measured*: the best that was found,"
            " where it won its last duel; both in turns, medians. *calls*: in one run of all these components.",
            "",
            f"| {' | '.join(_HEADINGS)} |",
            "|---|--:|--:|--:|--:|---|",
            *(f"| {' | '.join(_cells(work, record))} |" for work, record in found),
            "",
            f"{_summary(found)}.",
            "",
        ]
    )
    file = folder / MARKDOWN
    with replacing(file) as stream:
        stream.write(text.encode())
    return file


def print_table(found: Found) -> None:
    """On standard output."""
    from rich.table import Table

    from sam3port.cli.console import output

    table = Table()
    workload, *numbers, schedule = _HEADINGS
    table.add_column(workload, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(schedule, overflow="fold")
    for work, record in found:
        table.add_row(*_cells(work, record))
    console = output()
    console.print(table)
    console.print(_summary(found), highlight=False)


def _cells(work: Work, record: Record) -> tuple[str, ...]:
    from sam3port.kernels.cpu.workloads.tuned import schedule_of
    from sam3port.kernels.cpu.workloads.workload import described

    schedule = schedule_of(record.schedule)
    said = "the default" if not record.tuned or schedule is None else described(schedule)
    ratio = "" if record.ratio is None else f"{record.ratio:.3f}"
    calls = str(sum(work.calls.values()))
    return (record.workload, calls, _ms(record.default_seconds), _ms(record.seconds), ratio, said)


def _summary(found: Found) -> str:
    better = [record.ratio for _, record in found if record.tuned and record.ratio]
    mean = math.exp(sum(map(math.log, better)) / len(better)) if better else 1.0
    known = [(record, sum(work.calls.values())) for work, record in found if record.default_seconds and record.seconds]
    before = sum(calls * record.default_seconds for record, calls in known if record.default_seconds)
    after = sum(calls * record.seconds for record, calls in known if record.seconds)
    return (
        f"{len(better)} of {len(found)} workloads have a better schedule"
        + (f", {mean:.3f} x on average" if better else "")
        + (f"; all calls together {before:.3g} s by default, {after:.3g} s with them" if known else "")
    )


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.4g}"
