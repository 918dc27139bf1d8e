"""``sam3port segment``: the objects in photographs, by an artifact; needs no torch."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sam3port.cli.options import artifact_option, features_option
from sam3port.cli.segment.cluster import HERE, SHARD, WithAddress, refuse_meaningless
from sam3port.cli.segment.forms import ALSO, Forms
from sam3port.cli.segment.prompts import (
    CLICK,
    EACH_BOX,
    EVERYTHING,
    FIND,
    SEMANTIC,
    Example,
    Prompt,
    examples,
    read_labels,
    threshold,
)
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.cli.segment.progress import Shown
    from sam3port.runtime.everything import Grid
    from sam3port.runtime.model import Model

_THRESHOLD: Final = 0.5
_MASK_THRESHOLD: Final = 0.5
_DTYPES: Final = ("float32", "float16")  # as sam3port.runtime.features has them, which --help need not load
_FEATURES_GB: Final = 20.0
_MEANINGLESS: Final = {
    FIND: (),
    CLICK: ("--threshold", "--mask-threshold", "--max-objects", "--nms"),  # it keeps the best mask, whatever its score
    EACH_BOX: ("--threshold", "--mask-threshold", "--max-objects", "--nms"),
    SEMANTIC: ("--threshold", "--max-objects", "--nms"),
    EVERYTHING: ("--threshold", "--mask-threshold", "--nms"),  # it has thresholds of its own
}


@click.command("segment", cls=WithAddress)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@artifact_option
@click.option(
    "--text",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="What to look for, a noun phrase such as 'yellow bus' (repeatable: each is asked by itself).",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="More texts, one in each line.",
)
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
@click.option(
    "--like",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Boxes and points are in this picture; find what they show in the IMAGEs.",
)
@click.option("--click", "one", is_flag=True, help="Points and box mark one object, whose mask is wanted.")
@click.option("--each-box", is_flag=True, help="Each box marks one object: a mask for each.")
@click.option("--semantic", is_flag=True, help="One mask for each text, not told apart by object.")
@click.option("--everything", is_flag=True, help="Every object, whatever it is: by a grid of clicks.")
@click.option("--points-per-side", type=click.IntRange(min=1), metavar="N", help="With --everything (default: 32).")
@click.option("--pred-iou-thresh", type=float, callback=threshold, help="With --everything (default: 0.88).")
@click.option("--stability-score-thresh", type=float, callback=threshold, help="With --everything (default: 0.95).")
@click.option("--box-nms-thresh", type=float, callback=threshold, help="With --everything (default: 0.7).")
@click.option("--min-mask-region-area", type=click.FloatRange(min=0), metavar="PIXELS", help="With --everything.")
@click.option(
    "--tile",
    type=click.IntRange(min=16),
    metavar="PIXELS",
    help="Cut large pictures into tiles of this side, each seen as large as a picture (1008 is the full model's own).",
)
@click.option("--overlap", type=click.IntRange(min=0), metavar="PIXELS", help="Of tiles (default: an eighth).")
@click.option(
    "--threshold", type=float, callback=threshold, help=f"Keep objects with a score above it (default: {_THRESHOLD})."
)
@click.option(
    "--mask-threshold",
    type=float,
    default=_MASK_THRESHOLD,
    show_default=True,
    callback=threshold,
    help="Pixels with a higher probability are the mask; higher makes it tighter.",
)
@click.option("--max-objects", type=click.IntRange(min=1), metavar="N", help="Keep at most N with the highest scores.")
@click.option(
    "--nms",
    type=float,
    callback=threshold,
    metavar="IOU",
    help="Leave out objects of which more than IOU is a better one's, too.",
)
@click.option(
    "--out", default="segmented", show_default=True, metavar="DIR", help="Where; with --ray also s3://BUCKET/FOLDER."
)
@click.option(
    "--mask-format",
    type=click.Choice(["png", "rle"]),
    default="png",
    show_default=True,
    help="A picture for each mask too, or run lengths in annotations.json only.",
)
@click.option(
    "--overlay",
    type=click.Choice(["png", "jpg", "none"]),
    default="png",
    show_default=True,
    help="The picture with what was found: jpg is quicker and smaller.",
)
@click.option("--polygons", is_flag=True, help="Masks in annotations.json as polygons, at most a pixel off.")
@click.option(
    "--also",
    type=click.Choice(ALSO),
    multiple=True,
    help="Other forms of the results (repeatable).",
)
@features_option
@click.option(
    "--features-dtype",
    type=click.Choice(_DTYPES),
    default=_DTYPES[0],
    show_default=True,
    help="float16 takes half the room, and rounds.",
)
@click.option(
    "--features-limit",
    type=click.FloatRange(min=0),
    default=_FEATURES_GB,
    show_default=True,
    metavar="GB",
    help="Of that folder; what was used least recently goes.",
)
@click.option("--resume", is_flag=True, help="Leave alone what an earlier run with the same options has done.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value=HERE,
    metavar="[ADDRESS]",
    help="On a Ray cluster: auto or HOST:PORT (default: RAY_ADDRESS, else this machine). Writes Parquet and COCO.",
)
@click.option(
    "--shard",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With --ray: pictures in a file of results (default: {SHARD}), which are lost together if a node dies.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of the CPU (default: all; with --ray: 4 for each actor).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def segment(
    images: tuple[str, ...],
    artifact: Path | None,
    texts: tuple[str, ...],
    labels: Path | None,
    boxes: tuple[Example, ...],
    points: tuple[Example, ...],
    like: Path | None,
    one: bool,
    each_box: bool,
    semantic: bool,
    everything: bool,
    tile: int | None,
    overlap: int | None,
    threshold: float | None,
    mask_threshold: float,
    max_objects: int | None,
    nms: float | None,
    out: str,
    mask_format: str,
    overlay: str,
    polygons: bool,
    also: tuple[str, ...],
    features: Path | None,
    features_dtype: str,
    features_limit: float,
    resume: bool,
    ray: str | None,
    shard: int | None,
    threads: int | None,
    as_json: bool,
    **of_everything: float | None,
) -> int:
    """Find what is asked for in IMAGEs: files, folders or patterns such as '*.jpg'.

    Pixels count from the upper left corner of the picture as it is shown (after EXIF orientation). Into --out go
    NAME.overlay.png and NAME.masks/ for each picture, and annotations.json (COCO) about all of them.

    Exit status 1 when a picture could not be used, 2 when none could.
    """
    modes = {CLICK: one, EACH_BOX: each_box, SEMANTIC: semantic, EVERYTHING: everything}
    chosen = [mode for mode, wanted in modes.items() if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", "give one of them")
    mode = chosen[0] if chosen else FIND
    thresholds = {
        "--threshold": threshold is not None,
        "--mask-threshold": mask_threshold != _MASK_THRESHOLD,
        "--max-objects": max_objects is not None,
        "--nms": nms is not None,
    }
    for name in _MEANINGLESS[mode]:
        if thresholds[name]:
            raise UsageError(f"--{mode} does not go with {name}", f"leave {name} out")
    if overlap is not None and tile is None:
        raise UsageError("--overlap belongs to --tile", "give that, too")
    if features is not None and tile is not None:
        raise UsageError("--features keeps those of whole pictures, not of tiles", "leave it or --tile out")
    cut = None if tile is None else (tile, tile // 8 if overlap is None else overlap)
    texts += () if labels is None else read_labels(labels)
    lowest = _THRESHOLD if threshold is None else threshold
    grid = _grid(everything, of_everything)
    prompt = Prompt(texts, boxes, points, lowest, mode, mask_threshold, max_objects, nms, grid, cut, like)
    prompt.check()
    if ray is not None:
        return _on_cluster(ray, images, artifact, prompt, out, shard, resume, threads, as_json)
    _only_with_ray(images, out, shard)
    from sam3port.cli.segment.images import sources
    from sam3port.cli.segment.journal import open_journal
    from sam3port.cli.segment.output import open_output
    from sam3port.cli.segment.progress import show
    from sam3port.cli.segment.report import print_outcomes
    from sam3port.cli.segment.run import segment_all
    from sam3port.runtime.features import FeatureFolder

    forms = Forms(None if overlay == "none" else overlay, mask_format == "png", polygons, frozenset(also))
    found = sources(images)
    pictures = found.pictures
    if artifact is None:
        from sam3port.cli.own_artifact import own_artifact

        artifact = own_artifact()
    model = _load(artifact, threads)
    prompt.fits(model.manifest.capacity)
    prompt.has_weights(model.manifest)
    prompt = prompt.shown_to(model)
    folder = None if features is None else FeatureFolder(features, round(features_limit * 1e9), features_dtype)
    run = {"artifact": model.identity, "prompt": prompt.as_json(), "forms": forms.as_json()}
    with (
        open_output(Path(out), pictures, forms, prompt.categories) as output,
        open_journal(Path(out), output.annotations, run, resume) as journal,
        show(len(pictures)) as shown,
    ):
        for note in [found.skipped_note(), *prompt.notes()]:
            if note is not None:
                shown.note(note)
        _introduce(model, prompt, shown)
        outcomes, annotations = segment_all(model, pictures, prompt, output, journal, shown, folder)
    if as_json:
        manifest = model.manifest
        about = {"folder": str(artifact), "preset": manifest.preset, "weights": manifest.weights}
        content = {
            "artifact": about,
            "prompt": prompt.as_json(),
            "images": [outcome.as_json() for outcome in outcomes],
            "skipped": [str(file) for file in found.skipped],
            "annotations": None if annotations is None else str(annotations),
        }
        click.echo(json.dumps(content, indent=2, allow_nan=False))
    else:
        print_outcomes(outcomes, prompt, annotations)
    failed = sum(outcome.error is not None for outcome in outcomes)
    return 0 if not failed else 2 if failed == len(outcomes) else 1


def _on_cluster(
    address: str,
    images: tuple[str, ...],
    artifact: Path | None,
    prompt: Prompt,
    out: str,
    shard: int | None,
    *rest: Any,
) -> int:
    refuse_meaningless(click.get_current_context())
    from sam3port.machine.packages import require

    require("ray", "sam3port segment --ray")
    from sam3port.cli.own_artifact import own_artifact
    from sam3port.cli.segment.cluster import segment_on_cluster

    return segment_on_cluster(address, images, artifact or own_artifact(), prompt, out, shard or SHARD, *rest)


def _only_with_ray(images: tuple[str, ...], out: str, shard: int | None) -> None:
    """Raises UsageError for what is refused without ``--ray``."""
    if shard is not None:
        raise UsageError("--shard belongs to --ray", "give that, too, or leave it out")
    for place in (*images, out):
        if "://" in place and not os.path.lexists(place):
            raise UsageError(f"{place} is no path on this machine", "object stores are read and written with --ray")


def _grid(everything: bool, parameters: dict[str, float | None]) -> Grid | None:
    given = {name: value for name, value in parameters.items() if value is not None}
    if not everything:
        if given:
            name = next(iter(given)).replace("_", "-")
            raise UsageError(f"--{name} belongs to --everything", "give that, too, or leave it out")
        return None
    from sam3port.runtime.everything import Grid

    return Grid(**given)  # type: ignore[arg-type]


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
    if prompt.texts:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            model.remember_texts(prompt.texts)  # here, so that what is wrong with one is said once
        for warning in warned:
            shown.note(str(warning.message))
