"""What ``sam3port segment`` prints in the end: a table of objects, and the files that it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.cli.console import output, printable
from sam3port.cli.segment.forms import ALSO
from sam3port.cli.segment.outcome import Outcome
from sam3port.cli.segment.prompts import FIND, Prompt

if TYPE_CHECKING:
    from rich.table import Table

_ROWS: Final = 10
"""Objects of a picture in the table."""
_PLACES: Final = 3
"""Folders and files of one kind that are named."""


def print_outcomes(outcomes: Sequence[Outcome], prompt: Prompt, annotations: Path | None) -> None:
    """Writes to standard output."""
    console = output()
    if any(outcome.objects for outcome in outcomes):
        console.print(_table(outcomes, prompt))
    for line in _lines([outcome for outcome in outcomes if outcome.error is None], prompt):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if annotations is not None:
        console.print(printable(f"wrote {annotations}"), markup=False, highlight=False, soft_wrap=True)


def _lines(used: Sequence[Outcome], prompt: Prompt) -> Iterator[str]:
    for outcome in used:
        if not outcome.objects and prompt.mode == FIND and not outcome.done_before:
            file, lowest = outcome.source.file, f"{prompt.threshold:g}"
            best = "" if outcome.best_below is None else f" (the best has {outcome.best_below:.3f})"
            yield f"{file}: no object has a score above {lowest}{best}; a lower --threshold keeps more"
    new = [outcome for outcome in used if not outcome.done_before]
    if before := len(used) - len(new):
        yield f"{before} picture{'s were' if before > 1 else ' was'} done before"
    for outcome in new:
        if "overlay" in outcome.files:
            yield f"wrote {outcome.files['overlay']}"
    masks = [outcome.masks for outcome in new if outcome.masks]
    if masks:
        count = sum(map(len, masks))
        places = [str(files[0].parent) for files in masks]
        yield f"wrote {count} mask{'s' if count > 1 else ''} in {_named(places)}"
    for form in ALSO:
        if files := [str(outcome.files[form]) for outcome in new if form in outcome.files]:
            yield f"wrote {_named(files)}"


def _named(places: Sequence[str]) -> str:
    return ", ".join(places[:_PLACES]) + (", ..." if len(places) > _PLACES else "")


def _table(outcomes: Sequence[Outcome], prompt: Prompt) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("picture", overflow="fold")
    several = len(prompt.texts) > 1
    if several:
        table.add_column("text", overflow="fold")
    for heading in ("object", "score", "x0", "y0", "x1", "y1", "pixels", "of picture"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        if (picture := outcome.described) is None:
            continue
        for number, thing in enumerate(picture.objects[:_ROWS], 1):
            name = Text(printable(outcome.source.file) if number == 1 else "")
            asked = [Text(printable(prompt.texts[thing.category]))] if several else []
            share = thing.area / (picture.width * picture.height)
            corners = (f"{value:.0f}" for value in thing.corners)
            table.add_row(name, *asked, str(number), f"{thing.score:.3f}", *corners, str(thing.area), f"{share:.1%}")
        if len(picture.objects) > _ROWS:
            table.add_row(Text(f"... and {len(picture.objects) - _ROWS} more"))
        table.add_section()
    return table
