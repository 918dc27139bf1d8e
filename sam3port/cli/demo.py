"""``sam3port demo``: from the pinned source to an overlay on a photograph and the proof of its numbers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sam3port.cli.options import mcpu_option, needs
from sam3port.errors import Sam3PortError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

TEXT: Final = "astronaut"
BOX: Final = "100,10,310,240"
"""Head and helmet ring of the astronaut, 512 x 512 pixels."""
_OBJECTS: Final = 3
"""How many are kept where scores mean nothing."""


@click.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, metavar="DIR", help="Where."
)
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="Sizes of the model: tiny or full.")
@mcpu_option
@click.option("--again", is_flag=True, help="Verify again, also when nothing has changed since it passed.")
@click.option("--no-verify", is_flag=True, help="Only apply the patches, build and segment.")
@click.pass_context
@needs("build")
def demo(context: click.Context, out: Path, preset: str, mcpu: str | None, again: bool, no_verify: bool) -> int:
    """Do everything once, by the commands that you would give: apply the patches, build, segment, verify.

    Upstream is fetched if it is not there, weights come from a seed. Exit status 1 when the port's numbers are not
    upstream's.
    """
    if again and no_verify:
        raise UsageError("--again and --no-verify exclude each other", "give one of them")
    from sam3port.cli.console import output
    from sam3port.cli.demo_parity import Parity

    console = output()

    def command(name: str, *words: str) -> int:
        """Runs a command of the program in this process."""
        console.print(f"\n$ {shlex.join(['sam3port', name, *words])}", style="bold", markup=False, soft_wrap=True)
        status = _known(context, name).main(
            [*words], prog_name=f"sam3port {name}", standalone_mode=False, obj=context.obj
        )
        return status if isinstance(status, int) else 0

    artifact, segmented, photograph = out / "artifact", out / "segmented", out / "photographs" / f"{TEXT}.png"
    parity = Parity(out / "report", artifact, preset)
    _photograph(photograph)
    _must(command("apply-patches"), "apply-patches")
    of_cpu = ("--mcpu", mcpu) if mcpu else ()
    _must(command("build", "--preset", preset, *of_cpu, "--out", str(artifact)), "build")
    lowest = _threshold(artifact, photograph)
    asked = ("--text", TEXT, "--box", BOX, "--threshold", f"{lowest:.4f}", "--out", str(segmented))
    _must(command("segment", str(photograph), "--artifact", str(artifact), *asked), "segment")
    console.print(f"The threshold {lowest:.4f} was chosen to keep {_OBJECTS} objects: weights from a seed know none.")
    overlay, annotations = segmented / f"{TEXT}.overlay.png", segmented / "annotations.json"
    wrote = (artifact, photograph, overlay, annotations)
    if no_verify:
        _list(console, wrote)
        console.print("Its numbers were not compared with upstream's (without --no-verify they are).")
        return 0
    failed = 0
    if again or not parity.known():
        parity.forget()
        failed = command("verify", "--preset", preset, *of_cpu, "--report", str(parity.folder))
        seen = ("--artifact", str(artifact), "--images", str(photograph.parent))
        report = ("--report", str(parity.folder / "end_to_end"))
        failed = command("verify", "--end-to-end", "--preset", preset, *seen, *report) or failed
        if not failed:
            parity.remember()
    else:
        console.print("\nVerified before, and nothing has changed since (--again verifies again).")
    table, passed = parity.table()
    _list(console, (*wrote, parity.folder))
    console.print(table)
    passed = passed and not failed
    console.print("The port's numbers are upstream's." if passed else "The port's numbers are NOT upstream's.")
    return 0 if passed else 1


def _list(console: Console, files: Iterable[Path]) -> None:
    console.print("\nWrote")
    for file in files:
        console.print(f"  {file}", markup=False, highlight=False, soft_wrap=True)


def _known(context: click.Context, name: str) -> click.Command:
    from sam3port.plugins import load_plugins, switched_off

    return load_plugins(switched_off((context.obj or {}).get("disable", ()))).commands()[name]


def _must(status: int, name: str) -> None:
    if status:
        raise Sam3PortError(f"sam3port {name} ended with status {status}, so the demo ends here")


def _photograph(file: Path) -> None:
    """NASA's portrait of Eileen Collins, which scikit-image brings along."""
    import skimage.data
    from PIL import Image

    from sam3port.runtime.draw import save

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{file.parent} cannot be made: {error.strerror}", "choose another --out") from None
    pixels: np.ndarray[Any, Any] = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    save(file, Image.fromarray(pixels))


def _threshold(artifact: Path, photograph: Path) -> float:
    """Between the scores of the last object that is kept and the first that is not."""
    from sam3port.cli.segment.prompts import example
    from sam3port.runtime.model import load

    image = load(artifact).encode_image(photograph)
    scores = sorted(image.segment(TEXT, [example("--box", BOX, 4).numbers], threshold=0).scores, reverse=True)
    return float(scores[_OBJECTS - 1] + scores[_OBJECTS]) / 2
