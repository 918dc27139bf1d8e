"""Builds components: finds out what is missing, has worker processes make it, and puts results in place whole."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import filelock

import sam3port
from sam3port.errors import Sam3PortError, UsageError
from sam3port.machine.cpus import usable_cpus
from sam3port.port.keys import stage_keys, upstream_identity
from sam3port.port.processes import Worker, last_lines
from sam3port.port.progress import Progress, State, Step
from sam3port.port.request import BuildRequest
from sam3port.port.stage import EXPORTED, RECORD, Stage
from sam3port.port.store import Store, link, recover, replaced

if TYPE_CHECKING:
    from sam3port.patching.plan import Plan

LOG: Final = "build.log"
_LOCK: Final = ".lock"
_ENTRY: Final = "entry.json"
_HEAVY: Final = 400 * 2**20
"""Bytes of an exported program from which on only one such component is worked on at a time."""
_POLL: Final = 0.2


class BuildFailed(Sam3PortError):
    """One or more components could not be built; what was in their folders before is still there."""


def build(
    request: BuildRequest, out: Path, progress: Progress, *, store: Store | None = None, jobs: int | None = None
) -> dict[str, Path]:
    """Builds the components of ``request`` into folders of ``out``, each complete or as it was before.

    Args:
        request: what to build; ``components`` must not be empty.
        out: made if absent. One build at a time works in it; another waits.
        progress: is told what happens.
        store: where results of stages are kept and looked for; None keeps nothing beyond ``out``.
        jobs: worker processes at a time, by default one for each of at most 2 CPUs.

    Returns:
        The folder of each component.

    Raises:
        UsageError: a name or a size is impossible.
        UpstreamError: upstream's source is absent or wrong.
        BuildFailed: stages failed; everything else is built.
    """
    request.sizes()
    request.build_target()
    if request.checkpoint is not None and not request.checkpoint.is_file():
        raise UsageError(f"there is no checkpoint {request.checkpoint}")
    plan = _plan(request, progress)
    keys = stage_keys(request, plan)
    out.mkdir(parents=True, exist_ok=True)
    with _only_build_in(out, progress), _store(store, out) as kept:
        run = _Build(request, plan, keys, out, kept, progress)
        run.look()
        if run.missing():
            run.make(jobs or min(2, usable_cpus()))
        run.finish()
        kept.clean()
    return {name: out / name for name in request.components}


def _plan(request: BuildRequest, progress: Progress) -> Plan:
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off
    from sam3port.upstream.source import ensure

    found = ensure(request.upstream, report=progress.note)
    if not found.pinned:
        progress.note(found.describe())
    return make_plan(request.upstream, switched_off(request.disable))


@contextlib.contextmanager
def _only_build_in(out: Path, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(out / _LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.note(f"another build is working in {out}; waiting for it")
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _store(given: Store | None, out: Path) -> Iterator[Store]:
    """The store, or one for this build alone."""
    if given is not None:
        yield given
        return
    folder = out / ".store"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield Store(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Build:
    """The state of one build."""

    def __init__(
        self,
        request: BuildRequest,
        plan: Plan,
        keys: dict[str, dict[Stage, str]],
        out: Path,
        store: Store,
        progress: Progress,
    ) -> None:
        self.request, self.plan, self.keys = request, plan, keys
        self.out, self.store, self.progress = out, store, progress
        self.entries: dict[tuple[str, Stage], Path] = {}
        """The store's folders of the stages that are there."""
        self.writing: dict[tuple[str, Stage], Path] = {}
        self.started: dict[tuple[str, Stage], int] = {}
        """For running stages, the most memory seen since they began."""
        self.failures: dict[str, str] = {}
        self.placed: set[str] = set()

    # What is there

    def look(self) -> None:
        """Finds the results of stages in the store and in the folders of earlier builds."""
        for name, keys in self.keys.items():
            recover(self.out / name)
            for stage, key in keys.items():
                entry = self.store.find(key) or self._adopt(name, stage, key)
                if entry is not None:
                    self.entries[name, stage] = entry
                    self.progress.step(Step(name, stage, State.CACHED))

    def _adopt(self, name: str, stage: Stage, key: str) -> Path | None:
        """What an earlier build left in the folder of ``name``, when it is just what this one wants."""
        folder = self.out / name
        try:
            left = json.loads((folder / RECORD).read_text(encoding="utf-8"))["stages"][stage]
            whole = left["key"] == key and all((folder / f).stat().st_size == n for f, n in left["files"].items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not whole:
            return None
        new = self.store.begin()
        for file in left["files"]:
            link(folder / file, new / file)
        _write_entry(new, left["seconds"], left["memory"])
        return self.store.commit(new, key)

    def missing(self) -> dict[str, list[Stage]]:
        """The stages that have to run, by component."""
        found = {name: [s for s in keys if (name, s) not in self.entries] for name, keys in self.keys.items()}
        return {name: stages for name, stages in found.items() if stages}

    # Making it

    def make(self, jobs: int) -> None:
        """Runs worker processes until nothing is missing or cannot be made."""
        events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        workers: list[Worker] = []
        log_file = self.out / LOG
        with log_file.open("wb") as log:
            try:
                self._work(events, workers, jobs, log)
            finally:
                for worker in workers:
                    worker.end()

    def _work(
        self,
        events: queue.Queue[tuple[Worker, dict[str, Any] | None]],
        workers: list[Worker],
        jobs: int,
        log: IO[bytes],
    ) -> None:
        waiting = self.missing()
        to_export = [name for name, stages in waiting.items() if Stage.EXPORT in stages]
        if to_export:
            workers.append(exporter := Worker(events, log))
            exporter.send(self._job("export", folders={n: self._begin(n, Stage.EXPORT) for n in to_export}), "export")
            if jobs > 1 and self.request.until is not Stage.EXPORT:
                workers.append(lowerer := Worker(events, log))
                lowerer.send(self._job("warm"), "warm")
        while True:
            waiting = {name: stages for name, stages in waiting.items() if name not in self.failures}
            self._start_lowering(waiting, workers, lambda: Worker(events, log), jobs)
            if not any(worker.busy_with for worker in workers):
                return
            try:
                worker, event = events.get(timeout=_POLL)
            except queue.Empty:
                self._measure(workers)
                continue
            self._measure(workers)
            if worker not in workers:
                continue  # ended by `_free`
            if event is None:
                workers.remove(worker)
                self._died(worker, to_export)
            elif event["event"] == "finished":
                self._free(worker, workers)
            else:
                self._heard(event, worker)

    def _start_lowering(
        self, waiting: dict[str, list[Stage]], workers: list[Worker], start: Callable[[], Worker], jobs: int
    ) -> None:
        """Gives the components that can go on to idle or new workers; takes them out of ``waiting``."""
        ready = [name for name in waiting if (name, Stage.EXPORT) in self.entries]
        heavy_running = any(w.busy_with in self.keys and self._heavy(w.busy_with) for w in workers if w.busy_with)
        # The large ones first: they decide when all is done.
        for name in sorted(ready, key=self._exported_bytes, reverse=True):
            stages = [stage for stage in waiting[name] if stage is not Stage.EXPORT]
            if not stages:
                del waiting[name]
                self._place_if_complete(name)
                continue
            if heavy_running and self._heavy(name):
                continue
            worker = next((w for w in workers if w.busy_with is None), None)
            if worker is None:
                if len(workers) >= jobs:
                    return
                workers.append(worker := start())
            del waiting[name]
            heavy_running = heavy_running or self._heavy(name)
            sources = {stage: str(entry) for (n, stage), entry in self.entries.items() if n == name}
            folders = {stage: self._begin(name, stage) for stage in stages}
            worker.send(self._job("lower", component=name, sources=sources, folders=folders), name)

    def _job(self, kind: str, **rest: Any) -> dict[str, Any]:
        return {"kind": kind, "request": self.request.as_json(), **rest}

    def _begin(self, name: str, stage: Stage) -> str:
        folder = self.store.begin()
        self.writing[name, stage] = folder
        return str(folder)

    def _heard(self, event: dict[str, Any], worker: Worker) -> None:
        if event["event"] == "note":
            self.progress.note(event["text"])
            return
        if event["event"] == "failed" and event["component"] is None:
            self._fail_everything(worker, event["error"])
            return
        name, stage = event["component"], Stage(event["stage"])
        if event["event"] == "start":
            self.started[name, stage] = worker.memory()
            self.progress.step(Step(name, stage, State.RUNNING, memory=worker.memory()))
        elif event["event"] == "done":
            memory = self.started.pop((name, stage))
            folder = self.writing.pop((name, stage))
            _write_entry(folder, event["seconds"], memory)
            self.entries[name, stage] = self.store.commit(folder, self.keys[name][stage])
            self.progress.step(Step(name, stage, State.DONE, event["seconds"], memory))
            self._place_if_complete(name)
        else:
            self._fail(name, stage, event["error"]["problem"], event["error"]["remedy"])

    def _measure(self, workers: list[Worker]) -> None:
        total = 0
        for worker in workers:
            used = worker.memory()
            total += used
            for running in self.started:
                if worker.busy_with in {running[0], "export" if running[1] is Stage.EXPORT else None}:
                    self.started[running] = max(self.started[running], used)
        self.progress.memory(total)

    def _free(self, worker: Worker, workers: list[Worker]) -> None:
        """A worker is done with its job. One that has grown is ended, so that its memory is given back."""
        job, worker.busy_with = worker.busy_with, None
        if job == "export" or (job is not None and self._heavy(job)):
            workers.remove(worker)
            worker.end()

    def _fail(self, name: str, stage: Stage, problem: str, remedy: str = "") -> None:
        if name in self.failures:
            return
        self.started.pop((name, stage), None)
        text = f"{name}: {stage}: {problem}"
        self.failures[name] = f"{text}\n     -> {remedy}" if remedy else text
        self.progress.step(Step(name, stage, State.FAILED))

    def _fail_everything(self, worker: Worker, error: dict[str, str]) -> None:
        """A job failed outside of all stages, as when the model cannot be built."""
        if worker.busy_with == "export":
            if error["usage"] == "True":
                raise UsageError(error["problem"], error["remedy"])
            raise BuildFailed(f"the model cannot be built: {error['problem']}", error["remedy"] or self._see_log())
        if worker.busy_with == "warm":
            raise BuildFailed(f"TVM cannot be loaded: {error['problem']}", error["remedy"] or self._see_log())
        assert worker.busy_with is not None
        self._fail(worker.busy_with, self.missing()[worker.busy_with][0], error["problem"], error["remedy"])

    def _died(self, worker: Worker, to_export: list[str]) -> None:
        if worker.busy_with is None:
            return
        fate = worker.fate()
        if said := last_lines(self.out / LOG):
            fate += f"; the last it said: {said}"
        if worker.busy_with == "warm":
            raise BuildFailed(f"TVM cannot be loaded: {fate}", self._see_log())
        names = to_export if worker.busy_with == "export" else [worker.busy_with]
        for name in names:
            stages = self.missing().get(name, [])
            if stages and (worker.busy_with != "export" or stages[0] is Stage.EXPORT):
                self._fail(name, stages[0], fate, self._see_log())

    def _see_log(self) -> str:
        return f"{self.out / LOG} has all that was printed"

    def _exported_bytes(self, name: str) -> int:
        entry = self.entries.get((name, Stage.EXPORT))
        return (entry / EXPORTED).stat().st_size if entry is not None else 0

    def _heavy(self, name: str) -> bool:
        return self._exported_bytes(name) > _HEAVY

    # Putting it in place

    def finish(self) -> None:
        """Puts in place what is not yet, and raises BuildFailed if something could not be made."""
        for folder in self.writing.values():
            shutil.rmtree(folder, ignore_errors=True)
        for name in self.keys:
            self._place_if_complete(name)
        if self.failures:
            listed = "\n  ".join(self.failures.values())
            count = f"{len(self.failures)} of {len(self.keys)} components"
            raise BuildFailed(f"{count} could not be built:\n  {listed}", self._see_log())

    def _place_if_complete(self, name: str) -> None:
        if name in self.placed or any((name, stage) not in self.entries for stage in self.keys[name]):
            return
        self.placed.add(name)
        with replaced(self.out / name) as new:
            stages = {}
            for stage, key in self.keys[name].items():
                entry = self.entries[name, stage]
                for file in stage.files:
                    link(entry / file, new / file)
                sizes = {file: (entry / file).stat().st_size for file in stage.files}
                stages[str(stage)] = {"key": key, "files": sizes, **json.loads((entry / _ENTRY).read_text())}
            record = {**self._record(name), "stages": stages}
            (new / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")

    def _record(self, name: str) -> dict[str, Any]:
        request, component, sizes = self.request, self.request.component(name), self.request.sizes()
        return {
            "component": name,
            "sam3port": sam3port.__version__,
            "preset": request.preset,
            "resolution": sizes.image_size,
            "target": request.target,
            "device": request.build_target().device,
            "dtype": request.dtype,
            "weights": {"seed": request.seed}
            if request.checkpoint is None
            else {"checkpoint": str(request.checkpoint)},
            "capacity": dataclasses.asdict(request.capacity),
            "upstream": upstream_identity(self.plan),
            "patches": [patch.name for patch in self.plan.patches],
            "inputs": [dataclasses.asdict(spec) for spec in component.inputs(sizes)],
            "outputs": [dataclasses.asdict(spec) for spec in component.outputs(sizes)],
        }


def _write_entry(folder: Path, seconds: float, memory: int) -> None:
    content = {"seconds": round(seconds, 3), "memory": memory, "made": round(time.time())}
    (folder / _ENTRY).write_text(json.dumps(content), encoding="utf-8")


def default_store() -> Store:
    """The store in the user's cache."""
    from sam3port.upstream.places import cache_root

    return Store(cache_root() / "builds")
