"""``sam3port verify --end-to-end``: photographs and prompts, answered by the artifact and by upstream's processor."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.verify.end_to_end.photographs import Photograph
    from sam3port.verify.end_to_end.proof import Proof

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: Final = ("images", "photographs", "artifact")
"""What only means something together with ``--end-to-end``."""
_FEW: Final = 3
"""Photographs with a model as large as upstream's, which takes minutes for each."""


def end_to_end_options(function: F) -> F:
    """``--end-to-end`` and what belongs to it."""
    for option in (
        click.option(
            "--artifact",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="End to end: verify this artifact, as it is; build nothing.",
        ),
        click.option(
            "--photographs",
            type=click.IntRange(min=1),
            metavar="N",
            help=f"End to end: at most so many (default: all; {_FEW} with the preset full).",
        ),
        click.option(
            "--images",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="End to end: the photographs there, instead of scikit-image's.",
        ),
        click.option(
            "--end-to-end",
            is_flag=True,
            help="Compare the answers of the artifact with those of upstream's processor, on photographs.",
        ),
    ):
        function = option(function)
    return function


def refuse_alone(options: dict[str, Any]) -> None:
    """Raises UsageError when an option is given that means nothing without ``--end-to-end``."""
    for name in OPTIONS:
        if options.pop(name) is not None:
            raise UsageError(f"--{name} belongs to --end-to-end", "give that, too, or leave it away")


def verify_end_to_end(
    request: BuildRequest,
    words: list[str],
    *,
    artifact: Path | None,
    images: Path | None,
    photographs: int | None,
    report: Path | None,
    keep: Path | None,
    jobs: int | None,
    no_cache: bool,
    runner: tuple[str, ...],
) -> int:
    """The exit status: 1 when anything falls short.

    Args:
        request: what is built, or was.
        words: the options that ask for this build.
        artifact: what is verified; None builds it.
        images: a user's folder of photographs.
        photographs: at most so many.
        report: where the report is written.
        keep: where questions and answers stay.
        jobs: as for a build.
        no_cache: as for a build.
        runner: the interpreter that opens the artifact, unless it is this one.
    """
    from sam3port.verify.end_to_end.prompts import require
    from sam3port.verify.end_to_end.proof import temporary

    require(request.capacity)
    most = photographs if photographs or images or request.preset != "full" else _FEW
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(temporary()))
        shown = _photographs(folder / "photographs", images, most)
        built = stack.enter_context(_artifact(request, artifact, jobs, no_cache))
        proof = _prove(request, built, shown, folder, runner)
        _print(proof)
        if report is not None:
            from sam3port.verify.end_to_end.report import write_report

            command = ["sam3port", "verify", "--end-to-end", *words]
            command += ["--photographs", str(photographs)] if photographs else []
            command += ["--images", images.name] if images else []
            for file in write_report(proof, report, folder, shlex.join(command)):
                click.echo(f"wrote {file}", err=True)
    return 0 if proof.passed else 1


def _photographs(folder: Path, images: Path | None, most: int | None) -> list[Photograph]:
    from sam3port.verify.end_to_end.photographs import SCENES, own_photographs, photographs_in

    if images is not None:
        return photographs_in(images, most)
    shown = own_photographs(folder, most)
    if len(shown) < len(SCENES):
        click.echo(f"{len(shown)} of {len(SCENES)} photographs; --photographs N takes more", err=True)
    return shown


@contextlib.contextmanager
def _artifact(request: BuildRequest, artifact: Path | None, jobs: int | None, no_cache: bool) -> Iterator[Path]:
    """What is verified: the one given, or one that is built for this and then removed (the cache keeps its parts)."""
    if artifact is not None:
        yield artifact
        return
    from sam3port.build.artifact import build_artifact
    from sam3port.build.components import default_store
    from sam3port.cli.build.progress import show

    store = default_store()
    with store.temporary() as folder:
        with show(request, linked=True) as progress:
            build_artifact(request, folder / "artifact", progress, store=None if no_cache else store, jobs=jobs)
        yield folder / "artifact"


def _prove(
    request: BuildRequest, artifact: Path, photographs: list[Photograph], folder: Path, runner: tuple[str, ...]
) -> Proof:
    from sam3port.cli.verify.progress import show
    from sam3port.verify.end_to_end.proof import prove
    from sam3port.verify.end_to_end.sides import sides_for

    with show([each.name for each in photographs], sides_for(request.dtype), "photograph") as watcher:
        return prove(request, artifact, photographs, folder, watcher=watcher, runner=runner)


def _print(proof: Proof) -> None:
    from rich.table import Table
    from rich.text import Text

    from sam3port.cli.console import output
    from sam3port.verify.end_to_end.markdown import COLUMNS, by_photograph, by_prompt, figures

    console = output()
    build = proof.build
    for what, groups in (("prompt", by_prompt(proof)), ("photograph", by_photograph(proof))):
        table = Table(title=f"{build.preset}, {build.target}, {build.dtype}, end to end", title_justify="left")
        table.add_column(what)
        for heading in COLUMNS:
            table.add_column(heading, justify="right" if heading else "left")
        for name, verdicts in groups.items():
            *cells, state = figures(verdicts)
            table.add_row(name, *cells, Text(state, style="green" if state == "pass" else "bold red"))
        if groups:
            console.print(table)
    for line in proof.shortcomings:
        console.print(Text(line), soft_wrap=True)
    console.print(
        f"{len(proof.photographs)} photographs, {len(proof.ious)} masks compared, mean IoU {proof.mean_iou:.6f}: "
        + ("the same answers" if proof.passed else f"{len(proof.shortcomings)} fall short"),
        highlight=False,
        soft_wrap=True,
    )
