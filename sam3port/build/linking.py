"""The last job of an artifact's build, for a worker process: links the components, and shows how it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sam3port.build.errors import BuildFailed, see_log
from sam3port.build.processes import Worker
from sam3port.build.progress import LINK, MODEL, Progress, State, Step
from sam3port.build.results import Results
from sam3port.compiler.stage import Stage

KIND: Final = "link"


class Linking:
    """`sam3port.build.library.make_library` in a worker."""

    def __init__(self, folder: Path, progress: Progress, log_file: Path) -> None:
        """
        Args:
            folder: gets the library.
            progress: is told what happens.
            log_file: has what workers print.
        """
        self._folder, self._progress, self._log_file = folder, progress, log_file

    def job(self, results: Results) -> dict[str, Any]:
        """What the worker is told besides the request, once all components have their kernels."""
        kernels = {name: str(results.folder(name, Stage.KERNELS)) for name in results.keys}
        return {"kernels": kernels, "store": str(results.store.root), "folder": str(self._folder)}

    def hear(self, worker: Worker, event: dict[str, Any] | None) -> None:
        """An event of the worker that links; None: it ended before it was done.

        Raises:
            BuildFailed: it cannot be linked.
        """
        if event is None:
            self._failed(worker.obituary())
        elif event["event"] == "failed":
            self._failed(event["error"]["problem"], event["error"]["remedy"])
        elif event["event"] == "start":
            self._progress.step(Step(MODEL, LINK, State.RUNNING))
        elif event["event"] == "done":
            worker.memory()
            self._progress.step(Step(MODEL, LINK, State.DONE, event["seconds"], worker.peak))

    def _failed(self, problem: str, remedy: str = "") -> None:
        self._progress.step(Step(MODEL, LINK, State.FAILED))
        raise BuildFailed(f"the components cannot be linked: {problem}", remedy or see_log(self._log_file))
