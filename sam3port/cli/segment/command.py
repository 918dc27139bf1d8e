"""``sam3port segment``: the objects in photographs, by an artifact; needs no torch."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sam3port.cli.segment.prompts import Example, Prompt, examples, threshold
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.cli.segment.progress import Shown
    from sam3port.runtime.model import Model

_THRESHOLD: Final = 0.5


@click.command("segment")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--artifact", type=click.Path(path_type=Path), required=True, metavar="DIR", help="From `build`.")
@click.option("--text", metavar="TEXT", help="What to look for, a noun phrase such as 'yellow bus'.")
@click.option(
    "--box",
    "boxes",
    multiple=True,
    metavar="X0,Y0,X1,Y1[:+|-]",
    callback=examples(4),
    help="An example of what is wanted, or with :- of what is not (repeatable).",
)
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="X,Y[:+|-]",
    callback=examples(2),
    help="The same, as a point (repeatable).",
)
@click.option("--click", "one", is_flag=True, help="Points and box mark one object, whose mask is wanted.")
@click.option(
    "--threshold", type=float, callback=threshold, help=f"Keep objects with a score above it (default: {_THRESHOLD})."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("segmented"), show_default=True, metavar="DIR", help="Where."
)
@click.option(
    "--mask-format",
    type=click.Choice(["png", "rle"]),
    default="png",
    show_default=True,
    help="A picture for each mask too, or run lengths in annotations.json only.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the CPU (default: all).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def segment(
    images: tuple[str, ...],
    artifact: Path,
    text: str | None,
    boxes: tuple[Example, ...],
    points: tuple[Example, ...],
    one: bool,
    threshold: float | None,
    out: Path,
    mask_format: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Find what is asked for in IMAGEs: files, folders or patterns such as '*.jpg'.

    Pixels count from the upper left corner of the picture as it is shown (after EXIF orientation). Into --out go
    NAME.overlay.png and NAME.masks/ for each picture, and annotations.json (COCO) about all of them.

    Exit status 1 when a picture could not be used, 2 when none could.
    """
    if one and threshold is not None:
        raise UsageError("--click keeps the best mask, whatever its score", "leave --threshold out")
    prompt = Prompt(text, boxes, points, _THRESHOLD if threshold is None else threshold, one)
    prompt.check()
    from sam3port.cli.segment.images import sources
    from sam3port.cli.segment.output import open_output
    from sam3port.cli.segment.progress import show
    from sam3port.cli.segment.report import print_outcomes
    from sam3port.cli.segment.run import segment_all

    pictures = sources(images)
    model = _load(artifact, threads)
    prompt.fits(model.manifest.capacity)
    with open_output(out, pictures, mask_format == "png") as output, show(len(pictures)) as shown:
        _introduce(model, prompt, shown)
        outcomes, annotations = segment_all(model, pictures, prompt, output, shown)
    if as_json:
        manifest = model.manifest
        about = {"folder": str(artifact), "preset": manifest.preset, "weights": manifest.weights}
        listed = [outcome.as_json() for outcome in outcomes]
        file = None if annotations is None else str(annotations)
        content = {"artifact": about, "prompt": prompt.as_json(), "images": listed, "annotations": file}
        click.echo(json.dumps(content, indent=2, allow_nan=False))
    else:
        print_outcomes(outcomes, prompt, annotations)
    failed = sum(outcome.error is not None for outcome in outcomes)
    return 0 if not failed else 2 if failed == len(outcomes) else 1


def _load(artifact: Path, threads: int | None) -> Model:
    from sam3port.cli.console import messages
    from sam3port.runtime.model import load

    with messages().status("opening the artifact"):
        return load(artifact, threads)


def _introduce(model: Model, prompt: Prompt, shown: Shown) -> None:
    """Says what concerns all pictures."""
    if "seed" in model.manifest.weights:
        seed = model.manifest.weights["seed"]
        shown.note(
            f"the artifact's weights come from seed {seed}, not from a checkpoint: masks and scores mean nothing"
        )
    if prompt.text is not None:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            model.encode_text(prompt.text)  # here, so that what is wrong with it is said once
        for warning in warned:
            shown.note(str(warning.message))
