"""The runs of a proof, each a fresh interpreter, seen from the proof."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from sam3port.build.request import BuildRequest
from sam3port.children.child import Child
from sam3port.errors import Sam3PortError
from sam3port.verify.precision import PRECISIONS


class Run(StrEnum):
    """Who computes."""

    REFERENCE = "reference"
    """Upstream with the portability patches only, float32: upstream itself."""
    FLOAT64 = "float64"
    """The same in float64 throughout: the yardstick."""
    PATCHED = "patched"
    """All patches, float32: what is exported."""
    EXPORTED = "exported"
    """The exported program that the build traced."""
    COMPILED = "compiled"
    """The built library: the port."""
    AUTOCAST = "autocast"
    """Upstream under ``torch.autocast("cpu", torch.bfloat16)``: the yardstick of what is built in bfloat16."""


def runs_for(dtype: str) -> tuple[Run, ...]:
    """The runs of a proof of what is computed in ``dtype``."""
    return tuple(run for run in Run if run is not Run.AUTOCAST or PRECISIONS[dtype].autocast)


MODULES: Final = dict.fromkeys(Run, "sam3port.verify.run_torch") | {Run.COMPILED: "sam3port.verify.run_tvm"}


class ProofError(Sam3PortError):
    """A run cannot even begin: there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A component that a run could not compute."""

    run: StrEnum
    component: str
    case: str
    """Which input (in `Outcome` the name of its file), empty when the component could not even be made ready."""
    problem: str

    def __str__(self) -> str:
        where = f"{self.component}, {self.case}" if self.case else self.component
        return f"{where}: the {self.run} run failed: {self.problem}"


@dataclass
class Outcome:
    """What a run came to."""

    patches: tuple[str, ...] = ()
    """Names of the patches that upstream's modules went through."""
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0
    """The most that its process used, bytes, as far as it was seen."""


class Watcher(Protocol):
    """Who shows a proof to people. Called from several threads."""

    def began(self, run: StrEnum, component: str) -> None:
        """A component's inputs are being computed."""

    def ended(self, run: StrEnum, component: str, seconds: float, memory: int, failed: bool) -> None:
        """They are, or could not be; ``memory`` is what the process uses, bytes."""


class Unwatched:
    """Shows nothing."""

    def began(self, run: StrEnum, component: str) -> None:
        pass

    def ended(self, run: StrEnum, component: str, seconds: float, memory: int, failed: bool) -> None:
        pass


class Processes:
    """The processes of one proof; none of them outlives it."""

    def __init__(
        self,
        build: BuildRequest,
        built: Path,
        folder: Path,
        watcher: Watcher,
        modules: Mapping[Any, str] = MODULES,
        more: Mapping[str, Any] | None = None,
        runners: Mapping[Any, Sequence[str]] | None = None,
    ) -> None:
        """
        Args:
            build: what was built.
            built: holds a folder for each component.
            folder: holds ``inputs``; each run's outputs go to a folder named as the run.
            watcher: is told what happens.
            modules: what each run executes.
            more: what else its request says.
            runners: of runs whose interpreter is not this one: its command and first arguments. It sees the same files.
        """
        self._build, self._built, self._folder, self._watcher = build, built, folder, watcher
        self._modules, self._more, self._runners = modules, more or {}, runners or {}
        self._running: set[Child] = set()
        self._lock = threading.Lock()
        self._ended = False

    def perform(self, run: StrEnum, cases: Mapping[str, Sequence[Path]]) -> Outcome:
        """Runs every case of every component. What one component cannot do does not keep the others from it.

        Args:
            run: which.
            cases: by component, the files of its inputs.

        Raises:
            ProofError: the process failed before the first component.
        """
        outcome = Outcome()
        waiting = dict(cases)
        while waiting:
            done = self._process(run, waiting, outcome)
            waiting = {name: files for name, files in waiting.items() if name not in done}
        return outcome

    def end(self) -> None:
        """Ends those that still run."""
        with self._lock:
            self._ended = True
            for child in self._running:
                child.kill()

    def _process(self, run: StrEnum, cases: Mapping[str, Sequence[Path]], outcome: Outcome) -> set[str]:
        """One process; the components that it is done with."""
        out = self._folder / run
        out.mkdir(parents=True, exist_ok=True)
        request = out / "request.json"
        request.write_text(json.dumps(self._request(run, cases, out)), encoding="utf-8")
        child = self._start(run, request)
        try:
            done, begun, printed_before = self._follow(run, child, outcome)
            if done == set(cases):
                return done
            fate, said = child.fate(), child.said(printed_before)
        finally:
            with self._lock:
                self._running.discard(child)
            child.end()
        if begun is None:
            raise ProofError(f"the {run} run failed before its first component: {said or fate}", fate if said else "")
        # A crash: the component takes the blame, a new process does the rest.
        component, case = begun
        outcome.failures.append(Failure(run, component, case, f"{fate}; {said}" if said else fate))
        self._watcher.ended(run, component, 0.0, 0, True)
        return {*done, component}

    def _request(self, run: StrEnum, cases: Mapping[str, Sequence[Path]], out: Path) -> dict[str, Any]:
        return {
            **self._more,
            "run": str(run),
            "build": self._build.as_json(),
            "built": str(self._built.absolute()),
            "cases": {name: [str(file.absolute()) for file in files] for name, files in cases.items()},
            "out": str(out.absolute()),
        }

    def _start(self, run: StrEnum, request: Path) -> Child:
        with self._lock:
            if self._ended:
                raise KeyboardInterrupt
            # Its input is never written to: that it ends tells the child that the proof is gone.
            child = Child(self._modules[run], str(request), interpreter=self._runners.get(run, ()))
            self._running.add(child)
        return child

    def _follow(self, run: StrEnum, child: Child, outcome: Outcome) -> tuple[set[str], tuple[str, str] | None, int]:
        """Reads a process's events to their end.

        Returns:
            The components done, the component and case it was at, if any, and how long the log was when it came to it.
        """
        done: set[str] = set()
        at: tuple[str, str] | None = None
        printed_before = 0
        for event in child.events():
            kind, component = event["event"], event.get("component", "")
            outcome.memory = max(outcome.memory, event.get("memory", 0))
            if kind == "patches":
                outcome.patches = tuple(event["names"])
            elif kind == "began":
                at = (component, "")
                printed_before = child.printed()
                self._watcher.began(run, component)
            elif kind == "case":
                at = (component, event["case"])
            else:
                if kind == "failed":
                    outcome.failures.append(Failure(run, component, at[1] if at else "", event["problem"]))
                done.add(component)
                at = None
                self._watcher.ended(run, component, event["seconds"], event["memory"], kind == "failed")
        return done, at, printed_before
