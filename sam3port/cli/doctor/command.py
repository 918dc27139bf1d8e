"""``sam3port doctor``: what this machine has, and what is missing for which target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.cli.options import upstream_option

if TYPE_CHECKING:
    from sam3port.cli.doctor.examine import Examination


@click.command("doctor")
@upstream_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(upstream: Path | None, as_json: bool) -> int:
    """Say what this machine has and what each target lacks.

    Exit status 1 when a package or the target cpu is not complete, and, where torch is installed, when upstream or what
    building needs is not. A missing GPU is no failure.
    """
    from sam3port.cli.console import messages
    from sam3port.cli.doctor.examine import examine

    with messages().status("looking at this machine"):
        examination = examine(upstream)
    if as_json:
        click.echo(json.dumps(examination.as_json(), indent=2))
    else:
        _print(examination)
    return 0 if examination.ok else 1


def _print(examination: Examination) -> None:
    from rich.table import Table
    from rich.text import Text

    from sam3port.cli.console import output

    console = output()
    sections = {
        "machine": examination.machine,
        "packages, to run artifacts": examination.packages,
        "packages, to build them": examination.build_packages,
        "upstream": examination.upstream,
    }
    for title, findings in sections.items():
        table = Table(title=title, title_justify="left", title_style="bold", show_header=False)
        for finding in findings:
            mark = Text("ok", style="green") if finding.ok else Text("no", style="bold red")
            found = finding.found if finding.ok or not finding.remedy else f"{finding.found}\n-> {finding.remedy}"
            table.add_row(Text(finding.subject), mark, Text(found))
        console.print(table)
    table = Table(title="targets", title_justify="left", title_style="bold")
    for heading in ("target", "builds here", "runs here", "missing"):
        table.add_column(heading)
    for target in examination.targets:
        marks = [
            Text("yes", style="green") if can else Text("no", style="yellow")
            for can in (target.can_build, target.can_run)
        ]
        table.add_row(Text(target.target), *marks, Text(", ".join(target.missing) or "-"))
    console.print(table)
