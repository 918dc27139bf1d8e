"""The process that does the heavy work of a build: ``python -m sam3port.build.worker``.

Jobs come in and events go out as `sam3port.children.parent` says.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.build.progress import LINK, MODEL
from sam3port.build.request import BuildRequest
from sam3port.cache.store import Store
from sam3port.children.parent import Parent
from sam3port.compiler.stage import EXPORTED, OPTIMISED, PARAMETERS, RELAX, Stage
from sam3port.errors import Sam3PortError, UsageError, first_line

if TYPE_CHECKING:
    from sam3port.components.component import Component
    from sam3port.model.preset import Preset

Emit = Callable[..., None]


def main() -> None:
    """Works until the input ends."""
    # Programs are millions of Python objects that live as long as the stage: looking for garbage among them takes a
    # tenth of the time.
    gc.set_threshold(100_000, 20, 20)
    parent = Parent()
    for job in parent.commands():
        work(job, parent.say)


def work(job: Mapping[str, Any], emit: Emit) -> None:
    """Does one job: ``export`` of several components from one model, ``lower`` of one component, ``warm`` for it, or
    ``link`` of all.

    Args:
        job: ``kind``, ``request`` (a `BuildRequest` as JSON) and what `_export`, `_lower` or `_link` read.
        emit: gets "start", "done", "failed", "note" or "finished", with component and stage.
    """
    request = BuildRequest.from_json(job["request"])
    try:
        {"export": _export, "lower": _lower, "warm": _warm, "link": _link}[job["kind"]](request, job, emit)
    except _Failed:
        pass
    except Exception as error:
        emit("failed", component=None, stage=None, error=_described(error))
    emit("finished")


class _Failed(Exception):
    """A stage failed and said so."""


@contextmanager
def _stage(component: str, stage: Stage | str, emit: Emit) -> Iterator[None]:
    emit("start", component=component, stage=stage)
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        emit("failed", component=component, stage=stage, error=_described(error))
        raise _Failed from error
    emit("done", component=component, stage=stage, seconds=time.perf_counter() - started)


def _link(request: BuildRequest, job: Mapping[str, Any], emit: Emit) -> None:
    """``kernels``: by component, where Stage KERNELS left them; ``store``; ``folder``: where the library goes."""
    from sam3port.build.library import make_library

    kernels = {name: Path(folder) for name, folder in job["kernels"].items()}
    with _stage(MODEL, LINK, emit):
        make_library(request, kernels, Store(Path(job["store"])), Path(job["folder"]))


def _described(error: Exception) -> dict[str, str]:
    traceback.print_exception(error)
    if isinstance(error, Sam3PortError):
        return {"problem": error.problem, "remedy": error.remedy, "usage": str(isinstance(error, UsageError))}
    return {"problem": first_line(error), "remedy": ""}


def _export(request: BuildRequest, job: Mapping[str, Any], emit: Emit) -> None:
    """``folders``: for each component where its files go."""
    from sam3port.model.build import build_model
    from sam3port.patching.install import install

    preset = request.sizes()
    weights = f"seed {request.seed}" if request.checkpoint is None else request.checkpoint.name
    emit("note", text=f"building the model {preset.name} at {preset.image_size} pixels, {weights}")
    install(request.upstream, disable=request.disable)
    seed = None if request.checkpoint else request.seed
    model = build_model(preset, seed=seed, checkpoint=request.checkpoint, base=request.base)
    for name, folder in job["folders"].items():
        try:
            with _stage(name, Stage.EXPORT, emit):
                _export_one(request.component(name), model, preset, Path(folder) / EXPORTED)
        except _Failed:
            continue  # the others can still be built


def _export_one(component: Component, model: Any, preset: Preset, file: Path) -> None:
    from sam3port.compiler import export
    from sam3port.compiler.declared import check_example, check_program

    example = component.example(preset, 0)
    check_example(component, preset, example)
    program = export.export_module(component.module(model, preset), example)
    check_program(component, preset, program)
    export.save(program, file)


def _warm(request: BuildRequest, _job: Mapping[str, Any], _emit: Emit) -> None:
    """Imports what lowering needs, while another process still exports."""
    import tvm.relax.frontend.torch  # noqa: F401

    _register_operators(request)


def _register_operators(request: BuildRequest) -> None:
    """Makes known what programs may call besides ATen: patches and components register it when they are loaded."""
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off

    for patch in make_plan(request.upstream, switched_off(request.disable)).patches:
        if patch.prepare is not None:
            patch.prepare()


def _lower(request: BuildRequest, job: Mapping[str, Any], emit: Emit) -> None:
    """``component``; ``sources``: folders of stages that are there; ``folders``: where to write those that are not;
    ``store``: keeps machine code."""
    from sam3port.compiler import compile as compilation
    from sam3port.compiler import export, ir, pack
    from sam3port.compiler import optimise as optimisation
    from sam3port.compiler.importing import program as importing
    from sam3port.plugins import load_plugins, switched_off

    name = job["component"]
    sources = {Stage(stage): Path(folder) for stage, folder in job["sources"].items()}
    folders = {Stage(stage): Path(folder) for stage, folder in job["folders"].items()}
    target = request.build_target()
    _register_operators(request)
    module = compiled = None
    held: dict[str, Any] = {}
    """The weights, where the program was loaded for another stage: reading it takes longer than they are large."""

    def loaded(stage: Stage, file: str) -> Any:
        return module if module is not None else ir.load(sources[stage] / file)

    if folder := folders.get(Stage.IMPORT):
        with _stage(name, Stage.IMPORT, emit):
            program = export.load(sources[Stage.EXPORT] / EXPORTED)
            converters = load_plugins(switched_off(request.disable)).converters()
            if Stage.PACK in folders:
                held = importing.weights(program)
            module = importing.import_program(program, converters).module
            del program
            ir.save(module, folder / RELAX)
    if folder := folders.get(Stage.OPTIMISE):
        with _stage(name, Stage.OPTIMISE, emit):
            module = optimisation.optimise(loaded(Stage.IMPORT, RELAX), target)
            ir.save(module, folder / OPTIMISED)
            if said := _tuned(module):
                emit("note", text=f"{name}: {said}")
    if folder := folders.get(Stage.PACK):
        with _stage(name, Stage.PACK, emit):
            module = loaded(Stage.OPTIMISE, OPTIMISED)
            held = held or importing.weights(export.load(sources[Stage.EXPORT] / EXPORTED))
            pack.pack_parameters(module, target, held, folder / PARAMETERS)
            held = {}
    if folder := folders.get(Stage.KERNELS):
        with _stage(name, Stage.KERNELS, emit):
            module = loaded(Stage.OPTIMISE, OPTIMISED)
            report = _counter(name, Stage.KERNELS, emit)
            compiled = compilation.compile_kernels(module, target, Store(Path(job["store"])), report, folder)
    if folder := folders.get(Stage.COMPILE):
        with _stage(name, Stage.COMPILE, emit):
            # Files of a stage that is done may be moved to their place at this moment: only what was there is read.
            compiled = compiled or compilation.Compiled.read(sources[Stage.KERNELS])
            compilation.compile_library(compiled, target, folder)


def _counter(name: str, stage: Stage, emit: Emit) -> Callable[[int, int], None]:
    def report(done: int, count: int) -> None:
        emit("count", component=name, stage=stage, done=done, of=count)

    return report


def _tuned(module: Any) -> str:
    """How many of its kernels have schedules that were measured."""
    from tvm import tirx

    from sam3port.kernels.cpu.workloads.tuned import TUNED

    kernels = [f for _, f in module.functions_items() if isinstance(f, tirx.PrimFunc) and "sam3port.kernel" in f.attrs]
    tuned = sum(TUNED in kernel.attrs for kernel in kernels)
    return f"{tuned} of {len(kernels)} kernels have schedules that were measured" if tuned else ""


if __name__ == "__main__":
    main()
