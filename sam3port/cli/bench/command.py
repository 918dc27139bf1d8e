"""``sam3port bench``: the port and its peers on the same work, in one run."""

from __future__ import annotations

import contextlib
import json as json_format
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sam3port.cli.options import disable_option, given, mcpu_option, needs, upstream_option
from sam3port.cli.weights import checkpoint_files, checkpoint_options
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.bench.components import Setup
    from sam3port.bench.contestants import Contestant
    from sam3port.bench.figures import Results
    from sam3port.build.request import BuildRequest


def numbers(_context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Click's callback: whole numbers above zero, divided by commas."""
    if value is None:
        return ()
    if not all(part.strip().isdigit() and int(part) for part in value.split(",")):
        raise UsageError(f"{parameter.opts[0]} {value} is no list of numbers", f"write {parameter.opts[0]} 2,12")
    return tuple(int(part) for part in value.split(","))


@click.command("bench")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--end-to-end", is_flag=True, help="The whole program: a photograph, then prompts about it.")
@click.option("--command", "whole", is_flag=True, help="Whole commands: segment on large photographs, load, demo.")
@click.option(
    "--megapixels", metavar="N,...", callback=numbers, help="With --command: sizes of photographs (default: 2,12,48)."
)
@click.option("--objects", metavar="N,...", callback=numbers, help="With --command: how many (default: 1,20,200).")
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="Sizes of the model: tiny or full.")
@click.option("--resolution", type=int, metavar="N", help="Side of the image in pixels, instead of the preset's.")
@click.option("--dtype", default="float32", show_default=True, metavar="TYPE", help="What to compute in.")
@checkpoint_options
@click.option(
    "--against",
    metavar="PEER,...",
    help="torch, inductor, onnxruntime, openvino, or none (default: all that are installed).",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="For each (default: every usable CPU).")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Turns of each contestant.")
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="End to end: the photograph (default: scikit-image's coffee at 1800x1200).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output instead of a table.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Add to the report there, or begin one.",
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes of the build (default: 2).")
@mcpu_option
@upstream_option
@disable_option
@needs("build")
def bench(
    components: tuple[str, ...],
    end_to_end: bool,
    whole: bool,
    megapixels: tuple[int, ...],
    objects: tuple[int, ...],
    mcpu: str | None,
    against: str | None,
    threads: int | None,
    rounds: int,
    image: Path | None,
    as_json: bool,
    report: Path | None,
    jobs: int | None,
    **options: Any,
) -> int:
    """Time the COMPONENTs (all of them by default), or the whole program, beside PyTorch and other runtimes.

    All take turns on the same inputs with the same number of threads; each one's error stands beside its time. Builds
    first what the cache does not hold. Keep the machine idle meanwhile.
    """
    from sam3port.bench.components import Setup, bench_components
    from sam3port.bench.figures import Results
    from sam3port.bench.report import collected, earlier_runs, write_report
    from sam3port.bench.run import run_of
    from sam3port.build.request import known_components
    from sam3port.machine.cpus import usable_cpus

    if end_to_end and components:
        raise UsageError(f"--end-to-end takes all of the model, not {', '.join(components)}", "leave that away")
    if whole and (components or end_to_end or against or image):
        raise UsageError("--command measures sam3port's own commands", "leave components and other contestants away")
    if not whole and (megapixels or objects):
        raise UsageError("--megapixels and --objects belong to --command", "give that, too, or leave them away")
    if whole:
        from sam3port.cli.bench.commands import bench_whole_commands

        request = _request((), True, mcpu, options)
        return bench_whole_commands(
            request, megapixels or (2, 12, 48), objects or (1, 20, 200), rounds, as_json, report, jobs
        )
    if image is not None and not end_to_end:
        raise UsageError("--image belongs to --end-to-end", "give that, too, or leave it away")
    chosen = _contestants(against)
    request = _request(components, end_to_end, mcpu, options)
    results = Results()
    earlier = earlier_runs(report) if report is not None else []
    with tempfile.TemporaryDirectory(prefix="sam3port-bench-") as folder:
        setup = Setup(request, chosen, threads or usable_cpus(), rounds, Path(folder), say_since(time.monotonic()))
        with built(request, end_to_end, jobs) as folder_built:
            if end_to_end:
                _whole(setup, folder_built, image, results)
            else:
                bench_components(setup, folder_built, results)
        command = _command(components, end_to_end, mcpu, against, threads, rounds, image, options)
        run = run_of(results, setup, command)
        if as_json:
            click.echo(json_format.dumps(run.as_json()))
        else:
            _print(results)
        if report is not None:
            for file in write_report(collected(earlier, run), list(known_components()), report):
                click.echo(f"wrote {file}", err=True)
    return 0 if results.rows else 1


def _contestants(against: str | None) -> list[Contestant]:
    from sam3port.bench.contestants import EXTRA, PEERS, Contestant, asked, missing_packages

    if against == "none":
        return [Contestant.TVM]
    if against is not None:
        return [Contestant.TVM, *asked([name.strip() for name in against.split(",") if name.strip()])]
    there = [Contestant.TVM]
    for peer in PEERS:
        if missing := missing_packages(peer):
            click.echo(f"without {peer}: {', '.join(missing)} not installed ({EXTRA})", err=True)
        else:
            there.append(peer)
    return there


def _request(components: tuple[str, ...], end_to_end: bool, mcpu: str | None, options: dict[str, Any]) -> BuildRequest:
    from sam3port.build.fitting import fitted
    from sam3port.build.request import BuildRequest, known_components
    from sam3port.compiler.entries import linked_components
    from sam3port.tuning.sources import usual_schedules

    names = linked_components() if end_to_end else tuple(known_components(options["disable"], components))
    checkpoint, base = checkpoint_files(options["checkpoint"], options["base"])
    options |= {"checkpoint": checkpoint, "base": base, "seed": None if checkpoint else 0}
    request = BuildRequest(names, target_options=given(mcpu=mcpu), tuned=usual_schedules(), **options)
    request, about_weights = fitted(request, components)
    for line in about_weights:
        click.echo(line, err=True)
    request.sizes()
    request.build_target().check()
    request.refuse_to_run_without_device()
    return request


@contextlib.contextmanager
def built(request: BuildRequest, end_to_end: bool, jobs: int | None) -> Iterator[Path]:
    """What is measured; the cache keeps its stages."""
    from sam3port.build.artifact import build_artifact
    from sam3port.build.components import build, default_store
    from sam3port.cli.build.progress import show

    store = default_store()
    with store.temporary() as folder:
        with show(request, linked=end_to_end) as progress:
            if end_to_end:
                build_artifact(request, folder / "artifact", progress, store=store, jobs=jobs)
            else:
                build(request, folder, progress, store=store, jobs=jobs)
        yield folder / "artifact" if end_to_end else folder


def _whole(setup: Setup, artifact: Path, image: Path | None, results: Results) -> None:
    from sam3port.bench.whole import bench_whole
    from sam3port.verify.end_to_end.photographs import own_photograph, photograph_of

    shown = photograph_of(image) if image else own_photograph("coffee-1800x1200", setup.folder / "photographs")
    bench_whole(setup, artifact, shown, results)


def say_since(started: float) -> Any:
    from sam3port.cli.console import messages

    console = messages()

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - started:6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    return say


def _command(
    components: tuple[str, ...],
    end_to_end: bool,
    mcpu: str | None,
    against: str | None,
    threads: int | None,
    rounds: int,
    image: Path | None,
    options: dict[str, Any],
) -> str:
    words = ["sam3port", "bench", *components, *(["--end-to-end"] if end_to_end else [])]
    words += ["--preset", options["preset"]]
    words += ["--resolution", str(options["resolution"])] if options["resolution"] else []
    words += ["--dtype", options["dtype"]]
    words += [word for name in ("checkpoint", "base") if options[name] for word in (f"--{name}", options[name].name)]
    words += ["--mcpu", mcpu] if mcpu else []
    words += ["--against", against] if against else []
    words += ["--threads", str(threads)] if threads else []
    words += ["--image", image.name] if image else []
    words += [word for name in options["disable"] for word in ("--disable", name)]
    return shlex.join([*words, "--rounds", str(rounds)])


def _print(results: Results) -> None:
    from rich.table import Table

    from sam3port.bench.figures import NO_INSTRUCTION
    from sam3port.bench.table import COLUMNS, lines
    from sam3port.cli.console import output
    from sam3port.verify.precision import BFLOAT16

    table = Table()
    for index, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for cells in lines(results):
        table.add_row(*cells)
    console = output()
    console.print(table)
    if results.fma_limit:
        console.print(f"float32 multiply-adds: at most {results.fma_limit:.0f} GFLOP/s", highlight=False)
    if results.bfloat16_limit:
        console.print(f"bfloat16 multiply-adds: at most {results.bfloat16_limit:.0f} GFLOP/s", highlight=False)
    elif any(row.dtype == BFLOAT16.name for row in results.rows):
        console.print(f"{NO_INSTRUCTION}: float32's limit counts", highlight=False)
