"""``sam3port bench --command``: whole commands, on photographs of some sizes with some numbers of objects."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sam3port.bench.commands import CommandRow
    from sam3port.build.request import BuildRequest


def bench_whole_commands(
    request: BuildRequest,
    megapixels: Sequence[int],
    objects: Sequence[int],
    rounds: int,
    as_json: bool,
    report: Path | None,
    jobs: int | None,
) -> int:
    """Builds the artifact if the cache does not hold it, measures, prints, and writes the report if one is wanted."""
    from sam3port.artifact.manifest import read
    from sam3port.bench.commands import Asked, bench_commands
    from sam3port.bench.commands_report import write_report
    from sam3port.bench.run import machine, versions
    from sam3port.cli.bench.command import built, say_since

    with tempfile.TemporaryDirectory(prefix="sam3port-bench-") as folder, built(request, True, jobs) as artifact:
        manifest = read(artifact)
        asked = Asked(artifact, request.preset, megapixels, objects, rounds, Path(folder))
        rows = bench_commands(asked, manifest.sizes.num_queries, say_since(time.monotonic()))
    words = ["sam3port", "bench", "--command", "--preset", request.preset]
    lists = [",".join(map(str, each)) for each in (megapixels, objects)]
    words += ["--megapixels", lists[0], "--objects", lists[1], "--rounds", str(rounds)]
    about = {
        "command": shlex.join(words),
        "preset": request.preset,
        "weights": ", ".join(f"{name} {value}" for name, value in manifest.weights.items()),
        "machine": machine(),
        "versions": versions(),
    }
    if as_json:
        click.echo(json.dumps({**about, "rows": [row.as_json() for row in rows]}))
    else:
        _print(rows)
    if report is not None:
        for file in write_report(rows, about, report):
            click.echo(f"wrote {file}", err=True)
    return 0


def _print(rows: Sequence[CommandRow]) -> None:
    from rich.table import Table

    from sam3port.bench.commands_report import HEADINGS, cells
    from sam3port.cli.console import output

    table = Table()
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*cells(row))
    output().print(table)
