"""Shows a proof: a table that lives on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sam3port.cli.console import messages
from sam3port.verify.runs import Run, Watcher

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MIB: Final = 2**20


@contextlib.contextmanager
def show(components: Sequence[str], runs: Sequence[StrEnum] = tuple(Run), what: str = "component") -> Iterator[Watcher]:
    """Shows what is reported within the block.

    Args:
        components: what each run goes through.
        runs: that are made.
        what: one of the ``components`` is; each photograph has a line of its own, since it may take minutes.
    """
    console = messages()
    if not console.is_terminal:
        yield Lines(console, components, runs, what)
        return
    from rich.live import Live

    table = LiveTable(components, runs, what)
    with Live(console=console, get_renderable=table.render, refresh_per_second=4):
        yield table


class Lines:
    """One line for each run that is done."""

    def __init__(self, console: Console, components: Sequence[str], runs: Sequence[StrEnum], what: str) -> None:
        self._console, self._expected, self._what = console, len(components), what
        self._started = time.monotonic()
        self._done: dict[StrEnum, int] = dict.fromkeys(runs, 0)
        self._peak: dict[StrEnum, int] = dict.fromkeys(runs, 0)
        self._lock = threading.Lock()

    def began(self, run: StrEnum, component: str) -> None:
        pass

    def ended(self, run: StrEnum, component: str, seconds: float, memory: int, failed: bool) -> None:
        with self._lock:
            self._done[run] += 1
            self._peak[run] = max(self._peak[run], memory)
            if failed:
                self._line(f"{run:10} {component}: failed")
            elif self._what == "photograph":
                self._line(f"{run:10} {component}: {seconds:.1f} s")
            if self._done[run] == self._expected:
                self._line(f"{run:10} {self._expected} {self._what}s, {self._peak[run] / _MIB:.0f} MiB")

    def _line(self, text: str) -> None:
        elapsed = time.monotonic() - self._started
        self._console.print(f"[{elapsed:6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """A row for each component, a column for each run."""

    def __init__(self, components: Sequence[str], runs: Sequence[StrEnum], what: str) -> None:
        self._cells: dict[tuple[str, StrEnum], str | float] = {}
        """When a component began, or what became of it."""
        self._components, self._runs, self._what = components, runs, what
        self._started = time.monotonic()
        self._peak = 0

    def began(self, run: StrEnum, component: str) -> None:
        self._cells[component, run] = time.monotonic()

    def ended(self, run: StrEnum, component: str, seconds: float, memory: int, failed: bool) -> None:
        self._cells[component, run] = "[bold red]failed[/]" if failed else f"[green]{seconds:.1f} s[/]"
        self._peak = max(self._peak, memory)

    def render(self) -> Table:
        """The table as it is now."""
        from rich.table import Table

        used = f"  a run at most {self._peak / _MIB:.0f} MiB" if self._peak else ""
        table = Table(caption=f"{time.monotonic() - self._started:.0f} s{used}", caption_justify="left")
        table.add_column(self._what, no_wrap=True)
        for run in self._runs:
            table.add_column(str(run), no_wrap=True, justify="right")
        for component in self._components:
            table.add_row(component, *(self._cell(component, run) for run in self._runs))
        return table

    def _cell(self, component: str, run: StrEnum) -> str:
        entry = self._cells.get((component, run), "")
        return f"[cyan]{time.monotonic() - entry:.0f} s ...[/]" if isinstance(entry, float) else entry
