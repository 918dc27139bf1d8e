"""``sam3port build``: the artifact, or components of it, from upstream's source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.cli.options import disable_option, given, needs, target_options, upstream_option
from sam3port.cli.weights import checkpoint_options, chosen_weights, weights_option
from sam3port.compiler.stage import ORDER
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest


@click.command("build")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="Sizes of the model: tiny or full.")
@click.option("--resolution", type=int, metavar="N", help="Side of the image in pixels, instead of the preset's.")
@click.option("--target", default="cpu", show_default=True, metavar="NAME", help="What to compile for.")
@click.option("--dtype", default="float32", show_default=True, metavar="TYPE", help="What to compute in.")
@target_options
@weights_option("demo where there are any, else seed")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Weights from a seed.")
@checkpoint_options
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build"), show_default=True)
@click.option("--until", default="compile", show_default=True, metavar="STAGE", help=f"{', '.join(ORDER)}.")
@click.option("--dump", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write each stage's IR.")
@click.option("--explain", is_flag=True, help="Run what was built; list each kernel, its schedule and share of time.")
@click.option("--points", type=click.IntRange(min=1), default=8, show_default=True, help="Most points in a prompt.")
@click.option("--boxes", type=click.IntRange(min=1), default=8, show_default=True, help="Most boxes in a prompt.")
@click.option("--prompts", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts in one batch.")
@click.option(
    "--tuned", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Schedules, from sam3port tune."
)
@click.option("--untuned", is_flag=True, help="Use no schedules that were measured.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes (default: at most 2).")
@click.option("--no-cache", is_flag=True, help="Neither use nor fill the cache of stages.")
@upstream_option
@disable_option
@needs("build")
def build(
    components: tuple[str, ...],
    preset: str,
    resolution: int | None,
    target: str,
    dtype: str,
    mcpu: str | None,
    triple: str | None,
    arch: str | None,
    weights: str | None,
    seed: int | None,
    checkpoint: Path | None,
    base: Path | None,
    out: Path,
    until: str,
    dump: Path | None,
    explain: bool,
    points: int,
    boxes: int,
    prompts: int,
    tuned: Path | None,
    untuned: bool,
    jobs: int | None,
    no_cache: bool,
    upstream: Path | None,
    disable: tuple[str, ...],
) -> None:
    """Build the artifact that `sam3port segment` uses into --out; with COMPONENTs, those into a folder each of --out.

    Stages: export, import, optimise, pack, kernels, compile. What was built before is not built again. Ctrl-C leaves
    the folders as they were. With --until, --dump or --explain but no COMPONENT, all components are built.
    """
    drawn, checkpoint, base = chosen_weights(weights, seed, checkpoint, base, preset, usual="demo")
    if tuned is not None and untuned:
        raise UsageError("--tuned and --untuned exclude each other", "give one of them")
    from sam3port.artifact.interface import Capacity
    from sam3port.build.artifact import build_artifact
    from sam3port.build.components import build as run
    from sam3port.build.components import default_store
    from sam3port.build.fitting import fitted
    from sam3port.build.request import BuildRequest, known_components
    from sam3port.cli.build.explain import print_explanations, refuse_to_explain
    from sam3port.cli.build.progress import show
    from sam3port.compiler.entries import linked_components
    from sam3port.compiler.stage import Stage, stage_named
    from sam3port.tuning.sources import chosen_schedules, described_schedules

    last = stage_named(until)
    whole = not components and last is Stage.COMPILE and dump is None and not explain
    request = BuildRequest(
        components=linked_components() if whole else tuple(known_components(disable, components)),
        preset=preset,
        resolution=resolution,
        target=target,
        dtype=dtype,
        target_options=given(mcpu=mcpu, triple=triple, arch=arch),
        seed=drawn,
        checkpoint=checkpoint,
        base=base,
        capacity=Capacity(prompts=prompts, points=points, boxes=boxes),
        until=Stage.KERNELS if whole else last,
        upstream=upstream,
        disable=disable,
        tuned=chosen_schedules(tuned, untuned),
    )
    request, about_weights = fitted(request, components)
    if explain:
        refuse_to_explain(request)
    with show(request, linked=whole) as progress:
        if checkpoint is None:
            chosen = (
                f"seed {request.seed}"
                if seed is not None
                else f"seed {request.seed}, because neither --seed nor --checkpoint was given"
            )
            progress.note(f"weights: {chosen}; masks mean nothing with them")
        for line in about_weights:
            progress.note(line)
        if Stage.OPTIMISE in request.until.through() and (own := described_schedules(request.tuned)):
            progress.note(f"schedules that were measured: {own}")
        store = None if no_cache else default_store()
        if whole:
            build_artifact(request, out, progress, store=store, jobs=jobs)
        else:
            folders = run(request, out, progress, store=store, jobs=jobs)
    if (whole or last is Stage.COMPILE) and (lacking := request.build_target().missing_to_run()):
        click.echo(f"this machine cannot run it: it lacks {' and '.join(lacking)}", err=True)
    if whole:
        click.echo(f"built the artifact {out}")
        return
    count = f"{len(folders)} component{'s' if len(folders) > 1 else ''}"
    click.echo(f"built {count} until {request.until} in {out}")
    if dump is not None:
        _dump(request, folders, dump)
    if explain:
        print_explanations(request, folders)


def _dump(request: BuildRequest, folders: dict[str, Path], dump: Path) -> None:
    from sam3port.inspect.dump import dump as write

    for name in request.components:
        for file in write(folders[name], dump / name):
            click.echo(f"wrote {file}")
