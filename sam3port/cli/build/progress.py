"""Shows a build: a table that lives on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sam3port.build.progress import LINK, MODEL, Progress, State, Step
from sam3port.cli.console import messages

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sam3port.build.request import BuildRequest
    from sam3port.compiler.stage import Stage

_STYLE: Final = {State.RUNNING: "cyan", State.DONE: "green", State.CACHED: "dim green", State.FAILED: "bold red"}
_MIB: Final = 2**20


@contextlib.contextmanager
def show(request: BuildRequest, *, linked: bool = False) -> Iterator[Progress]:
    """Shows what is reported within the block.

    Args:
        request: its components are the rows of the table, its stages the columns.
        linked: the components are linked to one model in the end.
    """
    console = messages()
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.live import Live

    table = LiveTable(console, request, linked=linked)
    with Live(console=console, get_renderable=table.render, refresh_per_second=4):
        yield table


class Lines:
    """One line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def step(self, step: Step) -> None:
        if step.state is State.RUNNING:
            return
        took = f"{step.seconds:7.1f} s {step.memory / _MIB:7.0f} MiB" if step.state is State.DONE else ""
        self._line(f"{step.component:22} {step.stage:9} {step.state:7} {took}")

    def note(self, text: str) -> None:
        self._line(text)

    def count(self, component: str, stage: Stage, done: int, of: int) -> None:
        pass

    def memory(self, used: int) -> None:
        pass

    def _line(self, text: str) -> None:
        elapsed = time.monotonic() - self._started
        self._console.print(f"[{elapsed:6.1f} s] {text}".rstrip(), markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """A row for each component, a column for each stage."""

    def __init__(self, console: Console, request: BuildRequest, *, linked: bool = False) -> None:
        self._console = console
        self._stages: tuple[str, ...] = (*request.until.through(), *([LINK] if linked else []))
        names = (*request.components, *([MODEL] if linked else []))
        self._rows: dict[str, dict[str, tuple[Step, float]]] = {name: {} for name in names}
        self._counts: dict[tuple[str, str], str] = {}
        self._started = time.monotonic()
        self._memory = self._peak = 0

    def step(self, step: Step) -> None:
        self._rows[step.component][step.stage] = (step, time.monotonic())

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def count(self, component: str, stage: Stage, done: int, of: int) -> None:
        self._counts[component, stage] = f"{done} of {of}, "

    def memory(self, used: int) -> None:
        self._memory, self._peak = used, max(self._peak, used)

    def render(self) -> Table:
        """The table as it is now."""
        from rich.table import Table

        elapsed = time.monotonic() - self._started
        used = f"{self._memory / _MIB:.0f} MiB, at most {self._peak / _MIB:.0f} MiB" if self._peak else ""
        table = Table(caption=f"{elapsed:.0f} s  {used}", caption_justify="left")
        table.add_column("component", no_wrap=True)
        for stage in self._stages:
            table.add_column(str(stage), no_wrap=True, justify="right")
        for name, steps in self._rows.items():
            table.add_row(name, *(self._cell(steps.get(stage)) for stage in self._stages))
        return table

    def _cell(self, entry: tuple[Step, float] | None) -> str:
        if entry is None:
            return ""
        step, since = entry
        text = str(step.state)
        if step.state is State.RUNNING:
            text = f"{self._counts.get((step.component, step.stage), '')}{time.monotonic() - since:.0f} s ..."
        elif step.state is State.DONE:
            text = f"{step.seconds:.1f} s"
        return f"[{_STYLE[step.state]}]{text}[/]"
