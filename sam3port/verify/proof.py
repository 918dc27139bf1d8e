"""Runs the proof: the same inputs through upstream, float64, the patched and the exported program, and the port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sam3port.components.component import Component
from sam3port.errors import Sam3PortError
from sam3port.port.request import BuildRequest
from sam3port.verify.cases import Case, cases
from sam3port.verify.judge import Runs, Verdict, judge
from sam3port.verify.run_torch import Run

PORT = "compiled"
Report = Callable[[str], None]


class ProofError(Sam3PortError):
    """A run died: there is nothing to compare."""


@dataclass
class Proof:
    """What was compared, and how it came out."""

    build: BuildRequest
    seeds: int
    verdicts: list[Verdict]
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock time of each run."""

    @property
    def passed(self) -> bool:
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)


def prove(
    build: BuildRequest, built: Path, seeds: int, report: Report = lambda _: None, work: Path | None = None
) -> Proof:
    """Compares the built components with upstream.

    Args:
        build: what was built; its components are what is verified.
        built: the folder that holds one folder for each component.
        seeds: random inputs for each component, besides its edges.
        report: gets a line about each step.
        work: where inputs and outputs of the runs are kept; None is a temporary folder.

    Raises:
        ProofError: a run failed.
    """
    with tempfile.TemporaryDirectory(prefix="sam3port-verify-") as temporary:
        folder = work or Path(temporary)
        preset = build.sizes()
        components = {name: build.component(name) for name in build.components}
        files: dict[str, list[str]] = {}
        todo: list[tuple[Component, Case]] = []
        for name, component in components.items():
            for case in cases(component, preset, seeds):
                todo.append((component, case))
                files.setdefault(name, []).append(str(_save(case, component, folder / "inputs", build)))
        proof = Proof(build, seeds, [])
        for run in (*Run, PORT):
            report(f"{run}: {len(todo)} cases of {len(components)} components")
            start = time.perf_counter()
            _start(run, build, built, files, folder)
            proof.seconds[str(run)] = time.perf_counter() - start
        for component, case in todo:
            proof.verdicts += _compare(component, case, build, folder)
        return proof


def _save(case: Case, component: Component, folder: Path, build: BuildRequest) -> Path:
    from sam3port.port.runner import in_order

    specs = component.inputs(build.sizes())
    in_order(component.name, specs, case.inputs)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{case.key}.npz"
    if file.exists():
        raise ProofError(f"two cases of {component.name} have names that make the same file: {case.name}")
    with file.open("wb") as stream:
        np.savez(stream, **{spec.name: case.inputs[spec.name] for spec in specs})  # type: ignore[arg-type]
    return file


def _start(run: str, build: BuildRequest, built: Path, files: dict[str, list[str]], folder: Path) -> None:
    out = folder / str(run)
    out.mkdir(parents=True, exist_ok=True)
    request: dict[str, Any] = {
        "run": str(run),
        "build": build.as_json(),
        "built": str(built.absolute()),
        "cases": files,
        "out": str(out),
        "upstream": None if build.upstream is None else str(build.upstream.absolute()),
        "disable": list(build.disable),
    }
    file = folder / f"{run}.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    module = "run_tvm" if run == PORT else "run_torch"
    process = subprocess.run(
        [sys.executable, "-m", f"sam3port.verify.{module}", str(file)],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise ProofError(f"the run {run} ended with status {process.returncode}: {last}", process.stderr[-4000:])


def _compare(component: Component, case: Case, build: BuildRequest, folder: Path) -> Iterator[Verdict]:
    runs = {str(run): np.load(folder / str(run) / f"{case.key}.npz") for run in (*Run, PORT)}
    for spec in component.outputs(build.sizes()):
        arrays = {name: outputs[spec.name] for name, outputs in runs.items()}
        yield judge(
            component.name,
            case.name,
            spec,
            Runs(
                reference=arrays[Run.REFERENCE],
                float64=arrays[Run.FLOAT64],
                patched=arrays[Run.PATCHED],
                exported=arrays[Run.EXPORTED],
                compiled=arrays[PORT],
            ),
            component.tolerance,
        )
    for outputs in runs.values():
        outputs.close()
