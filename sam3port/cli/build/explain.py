"""``sam3port build --explain``: every kernel of a component, and where its time goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.inspect.explain import Share
    from sam3port.targets.target import BuildTarget

_WORTH: Final = 0.01
"""Share of the time below which what has no kernel of its own is not named."""


def refuse_to_explain(request: BuildRequest) -> None:
    """Raises UsageError when what is built cannot be run and timed here."""
    from sam3port.compiler.stage import Stage

    if request.until is not Stage.COMPILE:
        raise UsageError(f"--explain runs what was built, and --until {request.until} builds nothing that runs")
    request.refuse_to_run_without_device()
    if request.build_target().device != "cpu":
        raise UsageError("--explain cannot time what runs on a GPU yet", "use the vendor's profiler")


def print_explanations(request: BuildRequest, folders: dict[str, Path]) -> None:
    """A table for each component, after one of the number formats that its products can take."""
    from sam3port.inspect.explain import explain
    from sam3port.verify.cases import FIRST_SEED

    _print_formats(request.build_target())
    for name in request.components:
        component = request.component(name)
        _print(name, explain(folders[name], component.example(request.sizes(), FIRST_SEED)))


def _print_formats(target: BuildTarget) -> None:
    """Which products take which number format, by the first row that fits."""
    from rich.table import Table

    from sam3port.cli.console import output
    from sam3port.kernels.cpu.formats.cpu import cpu_of
    from sam3port.kernels.cpu.formats.policy import rules_for

    table = Table(title=f"number formats of a build in {target.dtype}", title_justify="left")
    for heading in ("what", "is computed in", "because"):
        table.add_column(heading, overflow="fold")
    for rule, found in rules_for(cpu_of(target.target()), target.dtype):
        table.add_row(str(rule), str(found), rule.why)
    output().print(table)


def _print(name: str, shares: list[Share]) -> None:
    from rich.table import Table

    from sam3port.cli.console import output
    from sam3port.inspect.explain import Origin

    console = output()
    whole = sum(share.seconds for share in shares)
    table = Table(title=f"{name}: {whole * 1e3:.4g} ms", title_justify="left")
    for heading in ("function", "kernel", "schedule"):
        table.add_column(heading, overflow="fold")
    for heading in ("calls", "ms", "share", "GFLOP/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    runtime = [share for share in shares if share.origin is Origin.RUNTIME]
    for share in shares:
        if share.origin is not Origin.RUNTIME:
            rate = f"{share.gflops:.1f}" if share.gflops else ""
            table.add_row(
                _short(share.function), share.kernel or f"({share.origin})", share.schedule, str(share.calls),
                f"{share.seconds * 1e3:.4g}", f"{share.share:.1%}", rate,
            )  # fmt: skip
    if runtime:
        spent, part = sum(share.seconds for share in runtime), sum(share.share for share in runtime)
        calls = sum(share.calls for share in runtime)
        table.add_row("TVM's runtime", "", "memory, shapes", str(calls), f"{spent * 1e3:.4g}", f"{part:.1%}", "")
    console.print(table)
    for origin, what in ((Origin.RULE, "on the general rule"), (Origin.SERIAL, "in serial loops, without a schedule")):
        own = [share for share in shares if share.origin is origin]
        if own:
            part = sum(share.share for share in own)
            named = [f"{_short(share.function)} {share.share:.1%}" for share in own if share.share >= _WORTH]
            click.echo(
                f"{len(own)} functions {what}: {part:.1%} of the time" + (f" ({', '.join(named)})" if named else "")
            )


def _short(function: str) -> str:
    """Fused functions have names of hundreds of letters."""
    return function if len(function) <= 60 else f"{function[:40]}...{function[-16:]}"
