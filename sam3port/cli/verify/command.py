"""``sam3port verify``: shows how far the port's numbers are from upstream's."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sam3port.cli.options import disable_option, given, needs, runner_option, target_options, upstream_option
from sam3port.cli.verify.end_to_end import OPTIONS, end_to_end_options, refuse_alone, verify_end_to_end
from sam3port.cli.verify.table import print_proof
from sam3port.cli.verify.words import command, words
from sam3port.cli.weights import checkpoint_options, chosen_weights, weights_option
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.verify.proof import Proof

_BUILT_OPTIONS: Final = (
    *("preset", "resolution", "target", "dtype", "mcpu", "triple", "arch"),
    *("seed", "checkpoint", "base", "points", "boxes", "prompts"),
)
"""Options that say what is built; with --built they must say what was built."""


@click.command("verify")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="Sizes of the model: tiny or full.")
@click.option("--resolution", type=int, metavar="N", help="Side of the image in pixels, instead of the preset's.")
@click.option("--target", default="cpu", show_default=True, metavar="NAME", help="What to compile for.")
@click.option("--dtype", default="float32", show_default=True, metavar="TYPE", help="What to compute in.")
@target_options
@runner_option
@weights_option("seed")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Weights from a seed (default: 0).")
@checkpoint_options
@click.option("--points", type=click.IntRange(min=1), default=8, show_default=True, help="Most points in a prompt.")
@click.option("--boxes", type=click.IntRange(min=1), default=8, show_default=True, help="Most boxes in a prompt.")
@click.option("--prompts", type=click.IntRange(min=1), default=1, show_default=True, help="Prompts in one batch.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Random inputs per component.")
@click.option(
    "--built",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Verify what `sam3port build --out DIR` left there, as it is; build nothing.",
)
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the report there."
)
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Keep every run's arrays there."
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes of the build (default: 2).")
@click.option("--no-cache", is_flag=True, help="Build everything; neither use nor fill the cache of stages.")
@end_to_end_options
@upstream_option
@disable_option
@click.pass_context
@needs("build")
def verify(
    context: click.Context,
    /,
    components: tuple[str, ...],
    seeds: int,
    built: Path | None,
    report: Path | None,
    keep: Path | None,
    jobs: int | None,
    no_cache: bool,
    runner: tuple[str, ...],
    upstream: Path | None,
    disable: tuple[str, ...],
    end_to_end: bool,
    **options: Any,
) -> int:
    """Compare the COMPONENTs (all of them by default) with upstream, on inputs that no build has seen.

    With --end-to-end: the whole artifact with upstream's own processor, on photographs and prompts.

    Builds first what the cache does not hold. Exit status 1 when anything falls short.
    """
    seed, checkpoint, base = chosen_weights(
        options.pop("weights"), options["seed"], options["checkpoint"], options["base"], options["preset"], usual="seed"
    )
    options |= {"seed": seed, "checkpoint": checkpoint, "base": base}
    asked = _by_hand(context, {"checkpoint": checkpoint, "base": base})
    if runner and shutil.which(runner[0]) is None:
        raise UsageError(f"--runner: there is no program {runner[0]}", "name a Python interpreter that is there")
    if end_to_end:
        if components or built is not None:
            named = "--built" if built is not None else ", ".join(components)
            raise UsageError(f"--end-to-end takes all of the model, not {named}", "leave that away; see --artifact")
        shown = {name: options.pop(name) for name in OPTIONS}
        request = _whole(asked, shown["artifact"], options, upstream, disable)
        if not runner:
            request.refuse_to_run_without_device()
        return verify_end_to_end(
            request,
            words(request, runner),
            **shown,
            report=report,
            keep=keep,
            jobs=jobs,
            no_cache=no_cache,
            runner=runner,
        )
    refuse_alone(options)
    if built is not None:
        request = _of_built(asked, built, components, upstream, disable)
    else:
        request = _asked(components, options, upstream, disable)
    if not runner:  # which finds out itself
        request.refuse_to_run_without_device()
    with _folder(request, built, jobs, no_cache) as folder:
        proof = _prove(request, folder, seeds, keep, runner)
    print_proof(proof)
    if report is not None:
        from sam3port.verify.report import write_report

        for file in write_report(proof, report, command(request, components, seeds, runner)):
            click.echo(f"wrote {file}", err=True)
    return 0 if proof.passed else 1


def _asked(
    components: tuple[str, ...], options: dict[str, Any], upstream: Path | None, disable: tuple[str, ...]
) -> BuildRequest:
    from sam3port.artifact.interface import Capacity
    from sam3port.build.fitting import fitted
    from sam3port.build.request import TARGET_OPTIONS, BuildRequest, known_components
    from sam3port.compiler.entries import linked_components
    from sam3port.tuning.sources import usual_schedules

    capacity = {name: options.pop(name) for name in ("points", "boxes", "prompts")}
    chosen = given(**{name: options.pop(name) for name in TARGET_OPTIONS})
    request = BuildRequest(
        components=tuple(known_components(disable, components)),
        target_options=chosen,
        capacity=Capacity(**capacity),
        upstream=upstream,
        disable=disable,
        tuned=usual_schedules(),
        **options,
    )
    request.build_target()
    request, about_weights = fitted(request, () if components == linked_components() else components)
    for line in about_weights:
        click.echo(line, err=True)
    request.sizes()
    return request


def _of_built(
    asked: dict[str, Any], built: Path, components: tuple[str, ...], upstream: Path | None, disable: tuple[str, ...]
) -> BuildRequest:
    from sam3port.tuning.sources import usual_schedules
    from sam3port.verify.built import is_current, request_of

    request = request_of(built, components, asked, upstream=upstream, disable=disable)
    request = replace(request, tuned=usual_schedules())
    if not is_current(built, request):
        click.echo(f"{built} was made by another state of sam3port, its plugins or TVM than this one", err=True)
    return request


def _whole(
    asked: dict[str, Any],
    artifact: Path | None,
    options: dict[str, Any],
    upstream: Path | None,
    disable: tuple[str, ...],
) -> BuildRequest:
    from sam3port.compiler.entries import linked_components
    from sam3port.verify.end_to_end.given import request_of

    if artifact is None:
        return _asked(linked_components(), options, upstream, disable)
    return request_of(artifact, asked, usual=options["checkpoint"], upstream=upstream, disable=disable)


def _by_hand(context: click.Context, files: Mapping[str, Path | None]) -> dict[str, Any]:
    """What the user asked for by name; checkpoints as the files that they are."""
    by_hand = click.core.ParameterSource.COMMANDLINE
    asked = {name: context.params[name] for name in _BUILT_OPTIONS if context.get_parameter_source(name) is by_hand}
    return asked | {name: files[name] for name in files if name in asked}


@contextlib.contextmanager
def _folder(request: BuildRequest, built: Path | None, jobs: int | None, no_cache: bool) -> Iterator[Path]:
    """What is verified: ``built``, or what is built for this and then removed (the cache keeps its stages)."""
    if built is not None:
        yield built
        return
    from sam3port.build.components import build, default_store
    from sam3port.cli.build.progress import show

    store = default_store()
    with store.temporary() as folder:
        with show(request) as progress:
            build(request, folder, progress, store=None if no_cache else store, jobs=jobs)
        yield folder


def _prove(request: BuildRequest, folder: Path, seeds: int, keep: Path | None, runner: tuple[str, ...]) -> Proof:
    from sam3port.cli.verify.progress import show
    from sam3port.verify.proof import prove
    from sam3port.verify.runs import runs_for

    with show(request.components, runs_for(request.dtype)) as watcher:
        return prove(request, folder, seeds, watcher=watcher, keep=keep, runner=runner)
