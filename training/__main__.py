"""``python -m training``: the small model that sam3port brings, from drawn scenes to its figures."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.errors import UsageError
from training.recipe import CLICKS, DEMO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.answers import See

_RUN = click.option(
    "--run", "folder", type=click.Path(path_type=Path), default=Path("build/training"), show_default=True, metavar="DIR"
)


@contextmanager
def _told() -> Iterator[None]:
    """The user is told what is wrong, without a traceback."""
    try:
        yield
    except UsageError as error:
        raise click.ClickException(str(error)) from None


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@_RUN
@click.option(
    "--steps",
    type=click.IntRange(min=8),
    metavar="N",
    help=f"A trial: so few, light steps, not the recipe's {DEMO.total}; and a fourth as many for clicks.",
)
@click.option(
    "--stop-after", type=click.IntRange(min=1), metavar="N", help="End there with a checkpoint, to go on later."
)
@click.option("--seed", type=int, default=DEMO.seed, show_default=True, help="Of the weights and of all scenes.")
@click.option("--processes", type=click.IntRange(min=1), default=DEMO.processes, show_default=True, metavar="N")
def train(folder: Path, steps: int | None, stop_after: int | None, seed: int, processes: int) -> None:
    """Train by the recipe, or go on where a run that was interrupted left its last checkpoint."""
    from training.run import train as run

    recipe, clicks = replace(DEMO, seed=seed, processes=processes), replace(CLICKS, seed=seed)
    if steps is not None:
        recipe, clicks = recipe.shortened(steps), clicks.shortened(steps // 4)
    with _told():
        run(recipe, folder, stop_after)
        if stop_after is None or stop_after > recipe.total:
            from training.click_run import START
            from training.click_run import train as run_clicks
            from training.pack import pack_start

            if not (folder / START).exists():
                pack_start(folder)
            run_clicks(clicks, folder, None if stop_after is None else stop_after - recipe.total)


@main.command()
@_RUN
@click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="Weights to begin with, instead of the package's."
)
@click.option("--steps", type=click.IntRange(min=2), metavar="N", help=f"A trial: not the recipe's {CLICKS.total}.")
@click.option("--seed", type=int, default=CLICKS.seed, show_default=True, help="Of the new weights and the scenes.")
def clicks(folder: Path, file: Path | None, steps: int | None, seed: int) -> None:
    """The third stage alone: train the part for clicks anew, and leave everything else in a file as it is."""
    from training.click_run import begin_with
    from training.click_run import train as run

    recipe = replace(CLICKS, seed=seed)
    with _told():
        begin_with(_weights(file), folder)
        run(recipe if steps is None else recipe.shortened(steps), folder)


@main.command()
@_RUN
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Instead of the one in the package.")
def pack(folder: Path, out: Path | None) -> None:
    """Write the weights of a run as the file that comes with sam3port."""
    from training.pack import pack as write

    file = out or Path("sam3port/model/data") / f"{DEMO.preset}.safetensors"
    with _told():
        write(folder, file)
    click.echo(f"wrote {file}")


@main.command()
@click.option("--scenes", type=click.IntRange(min=1), default=500, show_default=True, metavar="N", help="How many.")
@click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="Weights, instead of those in the package."
)
@click.option(
    "--artifact",
    "artifacts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also asked; repeatable.",
)
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write tables and pictures there.")
@_RUN
def evaluate(scenes: int, file: Path | None, artifacts: tuple[Path, ...], report: Path | None, folder: Path) -> None:
    """Ask upstream in PyTorch, and artifacts, about scenes that training has not seen; --run's log is plotted."""
    import torch

    from sam3port.model.demo_weights import about
    from training.evaluate import agreement, cases, judge, judge_clicks

    torch.set_num_threads(1)  # one small picture at a time: a second thread would mostly wait
    weights = _weights(file)
    metadata = about(weights)
    if metadata is None:
        raise click.UsageError(f"{weights} was not written by `python -m training pack`")
    asked = list(cases(scenes))
    answerers = {"upstream in PyTorch": lambda: _upstream(weights)}
    for place in artifacts:
        answerers[f"artifact {place.name}"] = lambda place=place: _artifact(place)
    tallies, answers, clicked = {}, {}, {}
    for who, answering in answerers.items():
        see = answering()
        tallies[who], answers[who] = judge(see, iter(asked))
        for kind, tally in tallies[who].items():
            click.echo(f"{who}, {kind}: {tally.as_json()}")
        clicked[who] = judge_clicks(see, iter(asked))
        click.echo(f"{who}, clicks that are corrected: {clicked[who].as_json()}")
    (first, reference), *others = answers.items()
    agreements = {who: agreement(reference, found) for who, found in others}
    for who, (same, of) in agreements.items():
        click.echo(f"{who} and {first} share {same} of {of} objects")
    if report is None:
        return
    from training import report as written

    report.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python -m training evaluate", *(f"--artifact {place}" for place in artifacts), "--report DIR"])
    written.write_tables(report, metadata, tallies, clicked, agreements, scenes, command)
    written.write_sheet(report / written.SHEET, asked, reference)
    written.plot_losses(folder, report)


def _weights(file: Path | None) -> Path:
    """That file, or the one in the package."""
    from sam3port.model.demo_weights import demo_weights

    weights = file or demo_weights(DEMO.preset)
    if weights is None:
        raise click.UsageError("there are no demo weights: `python -m training pack` writes them")
    return weights


def _upstream(weights: Path) -> See:
    from sam3port.model.build import build_model
    from sam3port.model.preset import preset
    from training.answers import upstream

    sizes = preset(DEMO.preset)
    return upstream(build_model(sizes, checkpoint=weights), sizes.image_size)


def _artifact(folder: Path) -> See:
    from training.answers import artifact

    return artifact(folder)


if __name__ == "__main__":
    main()
