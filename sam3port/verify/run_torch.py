"""One run of upstream in PyTorch, in a fresh interpreter: ``python -m sam3port.verify.run_torch REQUEST.json``.

What a run is decides which patches it has, and import-time patches cannot be changed in a running interpreter.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sam3port.patching.install import install
from sam3port.patching.patch import Kind
from sam3port.plugins import load_plugins, switched_off

if TYPE_CHECKING:
    import torch


class Run(StrEnum):
    """Which upstream computes."""

    REFERENCE = "reference"
    """Portability patches only, float32: upstream itself."""
    FLOAT64 = "float64"
    """The same in float64 throughout: the yardstick."""
    PATCHED = "patched"
    """All patches, float32: what is exported."""
    EXPORTED = "exported"
    """The exported program that the build traced."""


def not_portability(disable: Iterable[str] = ()) -> list[str]:
    """The patches that the reference does without."""
    patches = load_plugins(switched_off(disable)).patches().values()
    return [patch.name for patch in patches if patch.kind is not Kind.PORTABILITY]


def main(request: dict[str, Any]) -> None:
    """Runs every case of every component and writes the outputs as ``OUT/<case>.npz``."""
    run = Run(request["run"])
    reference = run in {Run.REFERENCE, Run.FLOAT64}
    disable = [*request["disable"], *(not_portability(request["disable"]) if reference else ())]
    install(request["upstream"], disable=disable)
    import torch

    from sam3port.port.request import BuildRequest

    torch.manual_seed(0)
    build = BuildRequest.from_json(request["build"])
    preset = build.sizes()
    model = None
    for name, cases in request["cases"].items():
        component = build.component(name)
        with torch.no_grad(), _precision(run):
            if run is Run.EXPORTED:
                from sam3port.port.export import load

                module: torch.nn.Module = load(Path(request["built"], name, "exported.pt2")).module()
            else:
                model = model or _model(build)
                module = component.module(model, preset).eval()
            for case in cases:
                _run_case(module, [s.name for s in component.outputs(preset)], Path(case), Path(request["out"]), run)
        print(f"{run}: {name}", flush=True)


def _model(build: Any) -> Any:
    from sam3port.model.build import build_model

    return build_model(build.sizes(), seed=build.seed, checkpoint=build.checkpoint, interactive=True)


def _run_case(module: torch.nn.Module, outputs: list[str], case: Path, out: Path, run: Run) -> None:
    import torch

    with np.load(case) as arrays:
        tensors = [torch.from_numpy(arrays[name]) for name in arrays.files]
    if run is Run.FLOAT64:
        tensors = [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors]
    results = module(*tensors)
    results = results if isinstance(results, tuple | list) else (results,)
    if len(results) != len(outputs):
        raise RuntimeError(f"{case.stem}: {len(results)} outputs, {len(outputs)} are declared")
    arrays_out = {name: result.detach().cpu().numpy() for name, result in zip(outputs, results, strict=True)}
    aside = out / f".{case.name}"
    with aside.open("wb") as stream:
        np.savez(stream, **arrays_out)
    aside.replace(out / case.name)


def _precision(run: Run) -> contextlib.AbstractContextManager[None]:
    from sam3port.verify.float64 import in_float64

    return in_float64() if run is Run.FLOAT64 else contextlib.nullcontext()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
