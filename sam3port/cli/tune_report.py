"""What `sam3port tune` found: before and after."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam3port.tuning.components import Work
    from sam3port.tuning.record import Record

Found = Sequence[tuple["Work", "Record"]]


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


def print_table(found: Found) -> None:
    """On standard output."""
    from rich.table import Table

    from sam3port.cli.console import output
    from sam3port.kernels.cpu.tuned import schedule_of
    from sam3port.kernels.cpu.workloads import described

    table = Table()
    table.add_column("workload", overflow="fold")
    for heading in ("calls", "default ms", "tuned ms", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("schedule", overflow="fold")
    for work, record in found:
        schedule = schedule_of(record.schedule)
        said = "the default" if not record.tuned or schedule is None else described(schedule)
        calls = str(sum(work.calls.values()))
        table.add_row(
            record.workload, calls, _ms(record.default_seconds), _ms(record.seconds), f"{record.ratio:.3f}", said
        )
    console = output()
    console.print(table)
    better = [record.ratio for _, record in found if record.tuned and record.ratio]
    mean = math.exp(sum(map(math.log, better)) / len(better)) if better else 1.0
    console.print(
        f"{len(better)} of {len(found)} workloads have a better schedule"
        + (f", {mean:.3f} x on average" if better else ""),
        highlight=False,
    )


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.4g}"
