"""``sam3port verify``: shows how far the port's numbers are from upstream's."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.cli.options import disable_option, upstream_option

if TYPE_CHECKING:
    from sam3port.verify.proof import Proof


@click.command("verify")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--preset", default="tiny", show_default=True, help="Sizes of the model: tiny or full.")
@click.option("--resolution", type=int, default=None, help="Side of the input image, pixels.")
@click.option("--target", default="cpu", show_default=True, help="What the components were built for.")
@click.option("--dtype", default="float32", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Weights from a seed (default: 0).")
@click.option("--checkpoint", type=click.Path(path_type=Path), default=None, help="Weights of a sam3.pt.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Random inputs per component.")
@click.option("--report", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Write the report there.")
@click.option("--keep", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Keep every run's arrays.")
@upstream_option
@disable_option
def verify(
    components: tuple[str, ...],
    preset: str,
    resolution: int | None,
    target: str,
    dtype: str,
    seed: int | None,
    checkpoint: Path | None,
    seeds: int,
    report: Path | None,
    keep: Path | None,
    upstream: Path | None,
    disable: tuple[str, ...],
) -> int:
    """Compare the COMPONENTs (all of them by default) with upstream, on inputs that no build has seen.

    Builds first what the cache does not hold. Exit status 1 when anything falls short.
    """
    import tempfile

    from sam3port.cli.console import messages
    from sam3port.errors import UsageError
    from sam3port.port.build import build as build_components
    from sam3port.port.progress import Silent
    from sam3port.port.request import BuildRequest, known_components
    from sam3port.verify.proof import prove

    if seed is not None and checkpoint is not None:
        raise UsageError("--seed and --checkpoint exclude each other")
    request = BuildRequest(
        components=tuple(known_components(disable, components)),
        preset=preset,
        resolution=resolution,
        target=target,
        dtype=dtype,
        seed=None if checkpoint is not None else seed or 0,
        checkpoint=checkpoint,
        upstream=upstream,
        disable=disable,
    )
    request.sizes()
    request.build_target()
    with tempfile.TemporaryDirectory(prefix="sam3port-built-") as folder:
        with messages().status("building what the cache does not hold"):
            build_components(request, Path(folder), Silent())
        with messages().status("comparing") as status:
            proof = prove(request, Path(folder), seeds, report=status.update, work=keep)
    _print(proof)
    if report is not None:
        from sam3port.verify.report import write_report

        for file in write_report(proof, report, _command(components, preset, resolution, target, dtype, seeds, seed)):
            click.echo(f"sam3port: wrote {file}", err=True)
    return 0 if proof.passed else 1


def _command(
    components: tuple[str, ...],
    preset: str,
    resolution: int | None,
    target: str,
    dtype: str,
    seeds: int,
    seed: int | None,
) -> str:
    """The command that makes the report again, without what is private to this machine."""
    words = ["sam3port", "verify", *components, "--preset", preset]
    words += ["--resolution", str(resolution)] if resolution else []
    words += ["--target", target, "--dtype", dtype, "--seeds", str(seeds)]
    words += ["--seed", str(seed)] if seed else []
    return shlex.join(words)


def _print(proof: Proof) -> None:
    from rich.table import Table
    from rich.text import Text

    from sam3port.cli.console import output
    from sam3port.verify.report import worst_by_output

    table = Table(title=f"{proof.build.preset}, {proof.build.target}, {proof.build.dtype}", title_justify="left")
    for heading in ("component", "output", "cases", "max abs", "within 1e-5", "of tolerance", "ratio to float64", ""):
        table.add_column(heading, justify="left" if heading in {"component", "output", ""} else "right")
    for group in worst_by_output(proof):
        passed = all(v.passed for v in group)
        table.add_row(
            group[0].component,
            group[0].output,
            str(len(group)),
            f"{max(v.error.max_absolute for v in group):.2e}",
            f"{min(v.error.strict_share for v in group):.2%}",
            f"{max(v.error.excess for v in group):.3f}",
            f"{max(v.ratio for v in group):.2f}",
            Text("pass", style="green") if passed else Text("FAIL", style="bold red"),
        )
    console = output()
    console.print(table)
    for verdict in proof.verdicts:
        if not verdict.passed:
            stage = max(verdict.stages, key=lambda name: verdict.stages[name]) if verdict.stages else "none"
            console.print(
                Text(f"{verdict.component}, {verdict.case}, {verdict.output}: {'; '.join(verdict.problems)}"),
                Text(f"  the largest difference came in at the stage: {stage} ({verdict.stages})"),
                sep="\n",
            )
    counts = (len(proof.verdicts), sum(not verdict.passed for verdict in proof.verdicts))
    console.print(f"{counts[0]} comparisons, {counts[1]} outside")
