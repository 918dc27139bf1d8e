"""What ``sam3port segment`` prints in the end: a table of objects, and the files that it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.cli.console import output, printable
from sam3port.cli.segment.objects import Outcome
from sam3port.cli.segment.prompts import Prompt

if TYPE_CHECKING:
    from rich.table import Table

_ROWS: Final = 10
"""Objects of a picture in the table."""
_PLACES: Final = 3
"""Folders of masks that are named."""


def print_outcomes(outcomes: Sequence[Outcome], prompt: Prompt, annotations: Path | None) -> None:
    """Writes to standard output."""
    console = output()
    if any(outcome.objects for outcome in outcomes):
        console.print(_table(outcomes))
    for line in _lines([outcome for outcome in outcomes if outcome.error is None], prompt):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if annotations is not None:
        console.print(printable(f"wrote {annotations}"), markup=False, highlight=False, soft_wrap=True)


def _lines(used: Sequence[Outcome], prompt: Prompt) -> Iterator[str]:
    for outcome in used:
        if not outcome.objects:
            file, lowest = outcome.source.file, f"{prompt.threshold:g}"
            yield f"{file}: no object has a score above {lowest}; a lower --threshold keeps more"
    for outcome in used:
        yield f"wrote {outcome.files[0]}"
    masks = [outcome.files[1:] for outcome in used if len(outcome.files) > 1]
    if masks:
        count = sum(map(len, masks))
        places = [str(files[0].parent) for files in masks]
        named = ", ".join(places[:_PLACES]) + (", ..." if len(places) > _PLACES else "")
        yield f"wrote {count} mask{'s' if count > 1 else ''} in {named}"


def _table(outcomes: Sequence[Outcome]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("picture", overflow="fold")
    for heading in ("object", "score", "x0", "y0", "x1", "y1", "pixels", "of picture"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        for number, thing in enumerate(outcome.objects[:_ROWS], 1):
            name = Text(printable(outcome.source.file) if number == 1 else "")
            share = thing.area / (outcome.width * outcome.height)
            corners = (f"{value:.0f}" for value in thing.box)
            table.add_row(name, str(number), f"{thing.score:.3f}", *corners, str(thing.area), f"{share:.1%}")
        if len(outcome.objects) > _ROWS:
            table.add_row(Text(f"... and {len(outcome.objects) - _ROWS} more"))
        table.add_section()
    return table
