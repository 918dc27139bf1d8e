"""Has a worker process link the components, and shows how it goes."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.port.errors import BuildFailed, see_log
from sam3port.port.processes import Worker, last_lines
from sam3port.port.progress import LINK, MODEL, Progress, State, Step
from sam3port.port.workshop import POLL

if TYPE_CHECKING:
    from sam3port.port.request import BuildRequest
    from sam3port.port.store import Store


def link_in_worker(
    request: BuildRequest, kernels: Mapping[str, Path], store: Store, folder: Path, progress: Progress, log_file: Path
) -> None:
    """`sam3port.port.library.make_library` in a process of its own, which does not outlive this call.

    Args:
        request: what is built.
        kernels: by component, where Stage KERNELS left them.
        store: has machine code of kernels.
        folder: gets the library.
        progress: is told what happens.
        log_file: what the process prints is appended.

    Raises:
        BuildFailed: it cannot be linked.
    """
    events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
    with log_file.open("ab") as log:
        worker = Worker(events, log)
        try:
            worker.send(
                {
                    "kind": "link",
                    "request": request.as_json(),
                    "kernels": {name: str(place) for name, place in kernels.items()},
                    "store": str(store.root),
                    "folder": str(folder),
                },
                MODEL,
            )
            _follow(worker, events, progress, log_file)
        finally:
            worker.end()


def _follow(
    worker: Worker, events: queue.Queue[tuple[Worker, dict[str, Any] | None]], progress: Progress, log_file: Path
) -> None:
    while True:
        progress.memory(worker.memory())
        try:
            _, event = events.get(timeout=POLL)
        except queue.Empty:
            continue
        if event is None:
            said = last_lines(log_file)
            _failed(progress, worker.fate() + (f"; the last it said: {said}" if said else ""), see_log(log_file))
        elif event["event"] == "failed":
            _failed(progress, event["error"]["problem"], event["error"]["remedy"] or see_log(log_file))
        elif event["event"] == "start":
            progress.step(Step(MODEL, LINK, State.RUNNING))
        elif event["event"] == "done":
            progress.step(Step(MODEL, LINK, State.DONE, event["seconds"], worker.peak))
            return


def _failed(progress: Progress, problem: str, remedy: str) -> None:
    progress.step(Step(MODEL, LINK, State.FAILED))
    raise BuildFailed(f"the components cannot be linked: {problem}", remedy)
