"""Contests about components."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sam3port.bench.contest import Say, Works, compete
from sam3port.bench.contestants import OF_ONNX, Contestant, cannot
from sam3port.bench.figures import Absent, Results, largest_difference
from sam3port.bench.preparation import prepared
from sam3port.verify.cases import FIRST_SEED
from sam3port.verify.child import Outputs
from sam3port.verify.runs import Processes, Run, Unwatched

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest

PREPARE: Final = "sam3port.bench.prepare"


@dataclass(frozen=True)
class Setup:
    """What holds for every contest of a run."""

    build: BuildRequest
    contestants: Sequence[Contestant]
    threads: int
    rounds: int
    folder: Path
    """For everything that is made on the way."""
    say: Say


def bench_components(setup: Setup, built: Path, results: Results) -> None:
    """One contest for each component of the build; their rows go to ``results``.

    Args:
        setup: who competes, and how.
        built: holds a folder for each component.
        results: is added to; what is there when an interruption comes is whole.

    Raises:
        ProofError: upstream cannot be run.
        PreparationFailed: a component cannot be counted.
    """
    files = {name: _write_inputs(setup, name) for name in setup.build.components}
    setup.say("upstream in float64: what errors are measured against")
    processes = Processes(setup.build, built, setup.folder, Unwatched())
    try:
        outcome = processes.perform(Run.FLOAT64, {name: [file] for name, file in files.items()})
    finally:
        processes.end()
    for failure in outcome.failures:
        setup.say(str(failure))
    for name, file in files.items():
        setup.say(f"== {name}")
        _bench(setup, name, built / name, file, results)


def _write_inputs(setup: Setup, name: str) -> Path:
    component, sizes = setup.build.component(name), setup.build.sizes()
    arrays = component.example(sizes, FIRST_SEED)
    file = setup.folder / "inputs" / f"{name}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **{spec.name: arrays[spec.name] for spec in component.inputs(sizes)})  # type: ignore[arg-type]
    return file


def _bench(setup: Setup, name: str, built: Path, inputs: Path, results: Results) -> None:
    folder = setup.folder / name
    onnx = [each for each in setup.contestants if each in OF_ONNX and not cannot(each, setup.build.dtype)]
    needed = _prepare(setup, built, folder, with_onnx=bool(onnx))
    specs = setup.build.component(name).outputs(setup.build.sizes())
    request = {
        "component": name,
        "work": "run",
        "build": setup.build.as_json(),
        "built": str(built.absolute()),
        "inputs": str(inputs.absolute()),
        "outputs": [spec.name for spec in specs],
        "onnx": str(folder / "model.onnx"),
        "onnx_inputs": needed["onnx_inputs"],
    }
    requests = {}
    for contestant in setup.contestants:
        problem = cannot(contestant, setup.build.dtype) or (needed["problem"] if contestant in onnx else "")
        if problem:
            setup.say(f"{contestant}: {problem}")
            results.absent.append(Absent(name, contestant, problem))
        else:
            requests[contestant] = {**request, "contestant": str(contestant)}
    reference = setup.folder / Run.FLOAT64 / inputs.name

    def error(_contestant: Contestant, _work: str, outputs: Outputs) -> float | None:
        if not reference.exists():
            return None
        with np.load(reference) as truth:
            return largest_difference([outputs[spec.name] for spec in specs], [truth[spec.name] for spec in specs])

    with np.load(inputs) as given:
        moved = needed["weight_bytes"] + sum(given[each].nbytes for each in given.files)
    moved += sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs)
    compete(
        Works({"run": name}, {"run": needed["flops"]}, {"run": moved}),
        requests,
        folder / "processes",
        build=setup.build,
        threads=setup.threads,
        rounds=setup.rounds,
        error=error,
        results=results,
        say=setup.say,
    )
    with contextlib.suppress(OSError):  # of full, 2 GB that nobody reads any more
        for file in folder.glob("model.onnx*"):
            file.unlink()


def _prepare(setup: Setup, built: Path, folder: Path, *, with_onnx: bool) -> dict[str, Any]:
    folder.mkdir(parents=True)
    request = folder / "request.json"
    request.write_text(
        json.dumps(
            {
                "build": setup.build.as_json(),
                "built": str(built.absolute()),
                "out": str(folder.absolute()),
                "onnx": with_onnx,
            }
        ),
        encoding="utf-8",
    )
    found: dict[str, Any] = prepared(
        PREPARE, str(request), file=folder / "prepared.json", failed=f"{built.name} cannot be prepared"
    )
    return found
