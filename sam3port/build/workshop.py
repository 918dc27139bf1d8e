"""Has worker processes make what is missing: one exports from one model, others lower what is exported meanwhile, one
links what they left."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import IO, Any, Final

from sam3port.build.errors import BuildFailed, see_log
from sam3port.build.linking import KIND, Linking
from sam3port.build.processes import Worker
from sam3port.build.progress import MODEL, Progress, State, Step
from sam3port.build.results import Results
from sam3port.compiler.stage import Stage
from sam3port.errors import UsageError

_HEAVY: Final = 400 * 2**20
"""Bytes of an exported program from which on only one such component is lowered at a time."""
_GROWN: Final = 2**30
"""Bytes of memory from which on a process is ended when it is done with its job. One has 450 MiB before the first."""
POLL: Final = 0.2
"""Seconds between two looks at the memory that is used."""
_LITTLE_ROOM: Final = 2**20
"""Bytes: as good as a full disk."""
_EXPORT: Final = "(export)"
_WARM: Final = "(warm)"
"""What a worker is busy with that does not work on one component; components are never called so."""


class Workshop:
    """The processes of one build."""

    def __init__(
        self, results: Results, progress: Progress, log_file: Path, jobs: int, linking: Linking | None = None
    ) -> None:
        """
        Args:
            results: where everything comes from and goes to.
            progress: is told what happens.
            log_file: gets what the processes print.
            jobs: how many processes work at a time.
            linking: what is to be done in the end, unless something failed.
        """
        self.failures: dict[str, str] = {}
        """What went wrong, by component."""
        self._results, self._progress = results, progress
        self._log_file, self._jobs, self._linking = log_file, jobs, linking
        self._events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[Worker] = []
        self._waiting = results.missing()
        self._running: dict[tuple[str, Stage], int] = {}
        """The stages that run, with the most memory seen since they began."""

    def run(self) -> None:
        """Works until nothing is missing, or cannot be made. No process is left, however this ends.

        Raises:
            UsageError, BuildFailed: not even the model can be built, or the components cannot be linked.
        """
        with self._log_file.open("wb") as log:
            try:
                self._start_export(log)
                while self._start_lowering(log) or self._busy():
                    self._hear_one()
                if self._linking is not None and not self.failures and (worker := self._free_worker(log)):
                    self._give(worker, MODEL, KIND, **self._linking.job(self._results))
                    while self._busy():
                        self._hear_one()
            finally:
                for worker in self._workers:
                    worker.end()

    def _busy(self) -> bool:
        return any(worker.busy_with for worker in self._workers)

    def _start_export(self, log: IO[bytes]) -> None:
        wanted = [name for name, stages in self._waiting.items() if Stage.EXPORT in stages]
        if not wanted:
            return
        folders = {name: self._results.begin(name, Stage.EXPORT) for name in wanted}
        self._give(self._new_worker(log), _EXPORT, "export", folders=folders)
        if self._jobs > 1 and any(len(stages) > 1 for stages in self._waiting.values()):
            self._give(self._new_worker(log), _WARM, "warm")

    def _start_lowering(self, log: IO[bytes]) -> bool:
        """Gives components that can go on to idle or new workers; whether it gave any."""
        before = len(self._waiting)
        heavy_running = any(worker.busy_with and self._heavy(worker.busy_with) for worker in self._workers)
        # The large ones first: they decide when all is done.
        for name in sorted(self._waiting, key=self._results.exported_bytes, reverse=True):
            if name in self.failures:
                del self._waiting[name]
            if name in self.failures or not self._results.has(name, Stage.EXPORT):
                continue
            stages = [stage for stage in self._waiting[name] if stage is not Stage.EXPORT]
            if not stages:
                del self._waiting[name]
                continue
            if heavy_running and self._heavy(name):
                continue
            worker = self._free_worker(log)
            if worker is None:
                break
            del self._waiting[name]
            heavy_running = heavy_running or self._heavy(name)
            sources = self._results.folders(name)
            folders = {stage: self._results.begin(name, stage) for stage in stages}
            store = str(self._results.store.root)
            self._give(worker, name, "lower", component=name, sources=sources, folders=folders, store=store)
        return len(self._waiting) < before

    def _free_worker(self, log: IO[bytes]) -> Worker | None:
        for worker in self._workers:
            if worker.busy_with is None:
                return worker
        return self._new_worker(log) if len(self._workers) < self._jobs else None

    def _new_worker(self, log: IO[bytes]) -> Worker:
        self._workers.append(worker := Worker(self._events, log))
        return worker

    def _give(self, worker: Worker, name: str, kind: str, **rest: Any) -> None:
        worker.give({"kind": kind, "request": self._results.request.as_json(), **rest}, name)

    def _hear_one(self) -> None:
        """Waits a moment for one event."""
        try:
            worker, event = self._events.get(timeout=POLL)
        except queue.Empty:
            self._measure()
            return
        self._measure()
        if worker not in self._workers:
            return  # ended by `_release`
        if worker.busy_with == MODEL and self._linking is not None and (event is None or event["event"] != "finished"):
            self._linking.hear(worker, event)
        elif event is None:
            self._workers.remove(worker)
            self._died(worker)
        elif event["event"] == "finished":
            self._release(worker)
        elif event["event"] == "note":
            self._progress.note(event["text"])
        elif event["event"] == "count":
            self._progress.count(event["component"], Stage(event["stage"]), event["done"], event["of"])
        elif event["event"] == "failed" and event["component"] is None:
            self._job_failed(worker, event["error"])
        else:
            self._stage_changed(worker, event)

    def _stage_changed(self, worker: Worker, event: dict[str, Any]) -> None:
        name, stage = event["component"], Stage(event["stage"])
        if event["event"] == "start":
            self._running[name, stage] = worker.memory()
            self._progress.step(Step(name, stage, State.RUNNING))
        elif event["event"] == "done":
            memory = self._running.pop((name, stage))
            self._results.commit(name, stage, event["seconds"], memory)
            self._progress.step(Step(name, stage, State.DONE, event["seconds"], memory))
        else:
            self._fail(name, stage, event["error"]["problem"], event["error"]["remedy"])

    def _measure(self) -> None:
        used = {worker.busy_with: worker.memory() for worker in self._workers}
        for name, stage in self._running:
            seen = used.get(_EXPORT if stage is Stage.EXPORT else name, 0)
            self._running[name, stage] = max(self._running[name, stage], seen)
        self._progress.memory(sum(used.values()))

    def _release(self, worker: Worker) -> None:
        """A worker is done with its job. One that has grown is ended, so that its memory is given back."""
        worker.busy_with = None
        if worker.memory() > _GROWN:
            self._workers.remove(worker)
            worker.end()

    def _heavy(self, name: str) -> bool:
        return self._results.exported_bytes(name) > _HEAVY

    def _fail(self, name: str, stage: Stage, problem: str, remedy: str = "") -> None:
        self._running.pop((name, stage), None)
        text = f"{name}: {stage}: {problem}"
        self.failures.setdefault(name, f"{text}\n     -> {remedy}" if remedy else text)
        self._progress.step(Step(name, stage, State.FAILED))

    def _job_failed(self, worker: Worker, error: dict[str, str]) -> None:
        """A job failed outside of all stages, as when the model cannot be built."""
        name, problem, remedy = worker.busy_with, error["problem"], error["remedy"]
        if name in {_EXPORT, _WARM}:
            if error.get("usage") == "True":
                raise UsageError(problem, remedy)
            what = "the model cannot be built" if name == _EXPORT else "TVM cannot be loaded"
            raise BuildFailed(f"{what}: {problem}", remedy or see_log(self._log_file))
        assert name is not None
        self._fail(name, self._results.missing()[name][0], problem, remedy)

    def _died(self, worker: Worker) -> None:
        """A process ended that should not have."""
        if worker.busy_with is None:
            return
        fate = worker.obituary()
        if self._results.room() < _LITTLE_ROOM:  # torch aborts when it cannot write
            fate += "; the disk is full"
        if worker.busy_with == _WARM:
            raise BuildFailed(f"TVM cannot be loaded: {fate}", see_log(self._log_file))
        for name, stages in self._results.missing().items():
            exporting = worker.busy_with == _EXPORT and stages[0] is Stage.EXPORT
            if name not in self.failures and (exporting or name == worker.busy_with):
                self._fail(name, stages[0], fate, see_log(self._log_file))
