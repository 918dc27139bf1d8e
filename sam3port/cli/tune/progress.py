"""Shows a search: a bar that lives on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from sam3port.cli.console import messages

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from sam3port.tuning.devices import Devices
    from sam3port.tuning.record import Machine, Record


class Shown(Protocol):
    """Is told how a search goes."""

    def begin(self, workload: str) -> None: ...

    def measured(self, record: Record) -> None: ...

    def decided(self, record: Record) -> None: ...


@contextlib.contextmanager
def show(machine: Machine, devices: Devices | None, trials: int) -> Iterator[Shown]:
    """Shows what is reported within the block.

    Args:
        trials: how many measurements of a sample are still to be made.
    """
    console = messages()
    where = f"on {devices.count} devices {devices.key} behind {devices.host}:{devices.port}" if devices else "here"
    console.print(f"{trials} schedules to measure {where}, for {machine.mcpu}", markup=False, highlight=False)
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, trials)


class _Best:
    """The best of a workload so far, against the default."""

    def __init__(self) -> None:
        self.workload, self.best, self.tried = "", 0.0, 0

    def begin(self, workload: str) -> None:
        self.workload, self.best, self.tried = workload, 0.0, 0

    def measured(self, record: Record) -> None:
        self.tried += 1
        self.best = max(self.best, record.ratio or 0.0)

    def so_far(self) -> str:
        return f"best so far {self.best:.3f} x the default" if self.best else "nothing measured yet"


class Lines(_Best):
    """A line for each workload that is decided."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console, self._started = console, time.monotonic()

    def decided(self, record: Record) -> None:
        outcome = f"{record.ratio:.3f} x the default" if record.tuned else "the default stays"
        elapsed = time.monotonic() - self._started
        text = f"[{elapsed:6.1f} s] {self.workload}: {self.tried} measured, {self.so_far()}; proved: {outcome}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bar(_Best):
    """A bar for everything."""

    def __init__(self, progress: Progress, trials: int) -> None:
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("", total=trials)

    def begin(self, workload: str) -> None:
        super().begin(workload)
        self._describe()

    def measured(self, record: Record) -> None:
        super().measured(record)
        self._progress.advance(self._task)
        self._describe()

    def decided(self, record: Record) -> None:
        outcome = f"{record.ratio:.3f} x the default" if record.tuned else "the default stays"
        self._progress.console.print(f"{self.workload}: {outcome}", markup=False, highlight=False)

    def _describe(self) -> None:
        self._progress.update(self._task, description=f"{self.workload[:60]}: {self.so_far()}")
