"""The proof: the same inputs through upstream, float64, the patched and the exported program, and the port."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sam3port.artifact.interface import TensorSpec
from sam3port.build.request import BuildRequest
from sam3port.components.component import Component
from sam3port.verify.cases import Case, cases
from sam3port.verify.judge import Runs, Verdict, judge, own
from sam3port.verify.judge_bfloat16 import judge_bfloat16
from sam3port.verify.metrics import OwnError, typical
from sam3port.verify.runs import Failure, Outcome, Processes, ProofError, Run, Unwatched, Watcher, runs_for

if TYPE_CHECKING:
    from sam3port.model.preset import Preset

_SMALL: Final = 50_000_000
"""Numbers in the two transformers of the model up to which two runs at a time are no danger to the memory."""


@dataclass
class Proof:
    """What was compared, and how it came out."""

    build: BuildRequest
    seeds: int
    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    """What could not be computed, and so not be compared."""
    outcomes: dict[Run, Outcome] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.verdicts) and not self.failures and all(verdict.passed for verdict in self.verdicts)

    @property
    def shortcomings(self) -> list[str]:
        """A line for everything that keeps the proof from passing."""
        return [*map(str, self.failures), *(str(verdict) for verdict in self.verdicts if not verdict.passed)]


def prove(
    build: BuildRequest,
    built: Path,
    seeds: int,
    *,
    watcher: Watcher | None = None,
    keep: Path | None = None,
    runner: Sequence[str] = (),
) -> Proof:
    """Compares the built components with upstream.

    Args:
        build: what was built; its components are what is verified.
        built: the folder that holds one folder for each component.
        seeds: random inputs for each component, besides its edges.
        watcher: is told what happens.
        keep: where inputs and outputs of the runs are written and stay; None is a temporary folder.
        runner: the interpreter of the run "compiled", command and first arguments; this one if it is empty.

    Raises:
        ProofError: a run cannot begin, or a component declares inputs that cannot be.
    """
    with tempfile.TemporaryDirectory(prefix="sam3port-verify-") as temporary:
        folder = keep or Path(temporary)
        components = {name: build.component(name) for name in build.components}
        todo = {name: list(cases(component, build.sizes(), seeds)) for name, component in components.items()}
        files = {name: _save_all(components[name], todo[name], folder / "inputs", build) for name in components}
        proof = Proof(build, seeds)
        proof.outcomes = _perform(build, built, folder, files, watcher or Unwatched(), runner)
        names = {case.key: case.name for given in todo.values() for case in given}
        for outcome in proof.outcomes.values():
            proof.failures += [replace(failure, case=names.get(failure.case, "")) for failure in outcome.failures]
        failed = {failure.component for failure in proof.failures}
        for name, component in components.items():
            if name not in failed:
                proof.verdicts += compare(component, todo[name], build, folder)
        return proof


def _save_all(component: Component, todo: list[Case], folder: Path, build: BuildRequest) -> list[Path]:
    from sam3port.build.runner import in_order

    folder.mkdir(parents=True, exist_ok=True)
    specs = component.inputs(build.sizes())
    files: list[Path] = []
    for case in todo:
        file = folder / f"{case.key}.npz"
        if file in files:
            raise ProofError(f"two cases of {component.name} have names that make the same file: {case.name}")
        arrays = in_order(f"{component.name}, {case.name}", specs, case.inputs)
        with file.open("wb") as stream:
            np.savez(stream, **dict(zip((spec.name for spec in specs), arrays, strict=True)))  # type: ignore[arg-type]
        files.append(file)
    return files


def _perform(
    build: BuildRequest,
    built: Path,
    folder: Path,
    files: dict[str, list[Path]],
    watcher: Watcher,
    runner: Sequence[str],
) -> dict[Run, Outcome]:
    processes = Processes(build, built, folder, watcher, runners={Run.COMPILED: runner} if runner else {})

    def perform(run: Run) -> Outcome:
        started = time.perf_counter()
        outcome = processes.perform(run, files)
        outcome.seconds = time.perf_counter() - started
        return outcome

    with ThreadPoolExecutor(_at_a_time(build.sizes())) as pool:
        try:
            runs = runs_for(build.dtype)
            return dict(zip(runs, pool.map(perform, runs), strict=True))
        except BaseException:
            processes.end()
            pool.shutdown(cancel_futures=True)
            raise


def _at_a_time(sizes: Preset) -> int:
    """Every run of upstream builds the whole model, whichever components are compared."""
    vision, text = sizes.vit_depth * sizes.vit_embed_dim**2, sizes.text_layers * sizes.text_width**2
    return 2 if 12 * (vision + text) <= _SMALL else 1


def compare(component: Component, todo: list[Case], build: BuildRequest, folder: Path) -> Iterator[Verdict]:
    """Judges every output of every case from what the runs left in ``folder``."""
    specs = component.outputs(build.sizes())
    usual = {run: _usual(run, specs, todo, folder) for run in _yardsticks(build.dtype)}
    for case in todo:
        with contextlib.ExitStack() as stack:
            loaded = {run: stack.enter_context(_load(folder, run, case)) for run in runs_for(build.dtype)}
            for spec in specs:
                outputs = {str(run): arrays[spec.name] for run, arrays in loaded.items()}
                autocast = outputs.pop(str(Run.AUTOCAST), None)
                errors = {run: found.get(spec.name) for run, found in usual.items()}
                subject = (component.name, case.name, spec, Runs(**outputs))
                if autocast is None:
                    yield judge(*subject, component.tolerance, errors[Run.REFERENCE])
                else:
                    yield judge_bfloat16(
                        *subject, autocast, component.tolerance, errors[Run.AUTOCAST], errors[Run.REFERENCE]
                    )


def _yardsticks(dtype: str) -> list[Run]:
    """The runs that the port's error is measured in."""
    return [run for run in runs_for(dtype) if run in {Run.REFERENCE, Run.AUTOCAST}]


def _usual(run: Run, specs: Sequence[TensorSpec], todo: list[Case], folder: Path) -> dict[str, OwnError]:
    """That run's own error in the typical case of each output, where it has one."""
    # One case in memory at a time: the full model's finest features are 85 MB, and there are several runs.
    errors: dict[str, list[OwnError]] = {spec.name: [] for spec in specs}
    for case in todo:
        with _load(folder, run, case) as found, _load(folder, Run.FLOAT64, case) as float64:
            for name, own_errors in errors.items():
                if (error := own(found[name], float64[name])) is not None:
                    own_errors.append(error)
    return {spec.name: typical(errors[spec.name], math.prod(spec.shape)) for spec in specs if errors[spec.name]}


def _load(folder: Path, run: Run, case: Case) -> Any:
    return np.load(folder / run / f"{case.key}.npz")
