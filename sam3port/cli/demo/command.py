"""``sam3port demo``: from the pinned source to an overlay on a photograph and the proof of its numbers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.cli.options import mcpu_option, needs
from sam3port.errors import Sam3PortError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from sam3port.demo.example import Example


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

    Upstream is fetched if it is not there. A scene is drawn on a photograph; the weights that come with sam3port find
    what is asked for in it, and nothing where it is not there. With --preset full weights come from a seed, and what
    they find means nothing. Exit status 1 when something else is found, or the port's numbers are not upstream's.
    """
    if again and no_verify:
        raise UsageError("--again and --no-verify exclude each other", "give one of them")
    from sam3port.cli.console import output
    from sam3port.cli.demo.parity import Parity
    from sam3port.demo.example import example, judged
    from sam3port.model.demo_weights import demo_weights

    console = output()

    def command(name: str, *words: str) -> int:
        """Runs a command of the program in this process."""
        console.print(f"\n$ {shlex.join(['sam3port', name, *words])}", style="bold", markup=False, soft_wrap=True)
        status = _known(context, name).main(
            [*words], prog_name=f"sam3port {name}", standalone_mode=False, obj=context.obj
        )
        return status if isinstance(status, int) else 0

    artifact, pictures, segmented = out / "artifact", out / "pictures", out / "segmented"
    parity = Parity(out / "report", artifact, preset)
    scene = pictures / "scene.png"
    shown = example()
    _write(scene, shown)
    _must(command("apply-patches"), "apply-patches")
    of_cpu = ("--mcpu", mcpu) if mcpu else ()
    _must(command("build", "--preset", preset, *of_cpu, "--out", str(artifact)), "build")
    wrong = 0
    for text, folder in ((shown.there, segmented), (shown.absent, out / "segmented-absent")):
        asked = ("--artifact", str(artifact), "--text", text, "--out", str(folder))
        _must(command("segment", str(scene), *asked), "segment")
        said, right = judged(shown, text, folder / "scene.masks")
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        wrong += not right
    trained = demo_weights(preset) is not None
    if not trained:
        console.print("With weights from a seed that means nothing: they know no objects.")
    overlay, annotations = segmented / "scene.overlay.png", segmented / "annotations.json"
    wrote = (artifact, scene, overlay, annotations)
    if no_verify:
        _list(console, wrote)
        console.print("Its numbers were not compared with upstream's (without --no-verify they are).")
        return 1 if wrong and trained else 0
    failed = 0
    if again or not parity.known():
        parity.forget()
        failed = command("verify", "--preset", preset, "--seed", "0", *of_cpu, "--report", str(parity.folder))
        # With trained weights, scores of what is not there lie so close to zero that no threshold has the gap that the
        # proof asks for: it is about the same code with a seed's, of which every score says something.
        whole = ("--seed", "0", *of_cpu) if trained else ("--artifact", str(artifact))
        seen = (*whole, "--images", str(pictures))
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
    return 0 if passed and not (wrong and trained) else 1


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


def _write(file: Path, shown: Example) -> None:
    from PIL import Image

    from sam3port.runtime.draw import save

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{file.parent} cannot be made: {error.strerror}", "choose another --out") from None
    save(file, Image.fromarray(shown.scene.pixels))
