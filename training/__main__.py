"""``python -m training``: the small model that sam3port brings, from drawn scenes to its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.errors import UsageError
from training.recipe import DEMO

if TYPE_CHECKING:
    from training.answers import See

_RUN = click.option(
    "--run", "folder", type=click.Path(path_type=Path), default=Path("build/training"), show_default=True, metavar="DIR"
)


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@_RUN
@click.option(
    "--steps",
    type=click.IntRange(min=8),
    metavar="N",
    help=f"A trial: so few, light steps, not the recipe's {DEMO.total}.",
)
@click.option(
    "--stop-after", type=click.IntRange(min=1), metavar="N", help="End there with a checkpoint, to go on later."
)
@click.option("--seed", type=int, default=DEMO.seed, show_default=True, help="Of the weights and of all scenes.")
@click.option("--processes", type=click.IntRange(min=1), default=DEMO.processes, show_default=True, metavar="N")
def train(folder: Path, steps: int | None, stop_after: int | None, seed: int, processes: int) -> None:
    """Train by the recipe, or go on where a run that was interrupted left its last checkpoint."""
    from training.run import train as run

    recipe = replace(DEMO, seed=seed, processes=processes)
    try:
        run(recipe if steps is None else recipe.shortened(steps), folder, stop_after)
    except UsageError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@_RUN
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Instead of the one in the package.")
def pack(folder: Path, out: Path | None) -> None:
    """Write the weights of a run as the file that comes with sam3port."""
    from training.pack import pack as write

    file = out or Path("sam3port/model/data") / f"{DEMO.preset}.safetensors"
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

    from sam3port.model.demo_weights import about, demo_weights
    from training.evaluate import agreement, cases, judge

    torch.set_num_threads(1)  # one small picture at a time: a second thread would mostly wait
    weights = file or demo_weights(DEMO.preset)
    metadata = None if weights is None else about(weights)
    if weights is None or metadata is None:
        raise click.UsageError("there are no demo weights: `python -m training pack` writes them")
    asked = list(cases(scenes))
    answerers = {"upstream in PyTorch": lambda: _upstream(weights)}
    for place in artifacts:
        answerers[f"artifact {place.name}"] = lambda place=place: _artifact(place)
    tallies, answers = {}, {}
    for who, see in answerers.items():
        tallies[who], answers[who] = judge(see(), iter(asked))
        for kind, tally in tallies[who].items():
            click.echo(f"{who}, {kind}: {tally.as_json()}")
    (first, reference), *others = answers.items()
    agreements = {who: agreement(reference, found) for who, found in others}
    for who, (same, of) in agreements.items():
        click.echo(f"{who} and {first} share {same} of {of} objects")
    if report is None:
        return
    from training import report as written
    from training.run import LOG

    report.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python -m training evaluate", *(f"--artifact {place}" for place in artifacts), "--report DIR"])
    written.write_tables(report, metadata, tallies, agreements, scenes, command)
    written.write_sheet(report / written.SHEET, asked, reference)
    if (folder / LOG).exists():
        written.plot_losses(folder, report / written.PLOT)


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
