"""Shows a run of ``sam3port segment``: a bar on a terminal, a line for each picture elsewhere. On standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sam3port.cli.console import messages, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from sam3port.cli.segment.images import Source
    from sam3port.cli.segment.outcome import Outcome


@contextlib.contextmanager
def show(count: int) -> Iterator[Shown]:
    """Shows what is reported within the block.

    Args:
        count: of pictures.
    """
    console = messages()
    if not console.is_terminal:
        yield Shown(console, count, None)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    times = TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
    columns = (BarColumn(), MofNCompleteColumn(), *times, TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        yield Shown(console, count, bar)


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``7 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Shown:
    """Notes and failures are lines everywhere; what goes well is a line only where there is no bar."""

    def __init__(self, console: Console, count: int, bar: Progress | None) -> None:
        self._console, self._count, self._bar = console, count, bar
        self._done = 0
        self._left_alone = 0
        self._started = time.monotonic()
        self._noted: set[str] = set()
        self._task = None if bar is None else bar.add_task("", total=count)

    def began(self, source: Source) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=printable(source.file.name))

    def ended(self, outcome: Outcome) -> None:
        self._done += 1
        self._left_alone += outcome.done_before
        for note in outcome.notes:
            self.note(note)
        if outcome.error is not None:
            self._line(f"sam3port: {outcome.error.problem}")
            if outcome.error.remedy:
                self._line(f"  -> {outcome.error.remedy}")
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
        elif outcome.error is None and not outcome.done_before:
            found = len(outcome.objects)
            kinds = "object" if found == 1 else "objects"
            self._line(f"[{self._done}/{self._count}] {outcome.source.file}: {found} {kinds}{self._left()}")

    def _left(self) -> str:
        """How long the rest will take if it goes on like this."""
        if self._done == self._count:
            return ""
        each = (time.monotonic() - self._started) / (self._done - self._left_alone)
        return f" ({duration(each * (self._count - self._done))} left)"

    def note(self, text: str) -> None:
        """Says it once."""
        if text not in self._noted:
            self._noted.add(text)
            self._line(f"sam3port: {text}")

    def _line(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
