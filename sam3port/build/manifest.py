"""What an artifact says about itself: the content of ``manifest.json``, described in docs/artifact.md."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sam3port
from sam3port.artifact.hashes import sha256
from sam3port.artifact.manifest import FORMAT, FUNCTIONS, KIND, MANIFEST
from sam3port.build.keys import upstream_identity, weights_identity
from sam3port.build.library import model_file
from sam3port.compiler.entries import entries_for, interface

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.compiler.compiled_for import Machine
    from sam3port.patching.plan import Plan

_VERSIONS: Final = ("apache-tvm", "apache-tvm-ffi", "numpy", "tokenizers", "torch", "torchvision")


def describe(request: BuildRequest, plan: Plan, machine: Machine, folder: Path) -> dict[str, Any]:
    """The manifest of the artifact whose other files all lie in ``folder``."""
    sizes, target = request.sizes(), request.build_target()
    return {
        "format": FORMAT,
        "kind": KIND,
        "sam3port": sam3port.__version__,
        "upstream": upstream_identity(plan),
        "patches": [patch.name for patch in plan.patches],
        "preset": request.preset,
        "dtype": request.dtype,
        "weights": _weights(request),
        "capacity": dataclasses.asdict(request.capacity),
        "sizes": {
            "image_size": sizes.image_size,
            "mask_size": sizes.mask_size,
            "num_queries": sizes.num_queries,
            "text_context": sizes.text_context,
        },
        "target": {
            "name": request.target,
            "device": target.device,
            "system": machine.system,
            "machine": machine.machine,
            "tvm": machine.tvm,
            "cpu_features": list(machine.cpu_features),
            **target.about(),
        },
        "library": model_file(machine),
        "entries": _entries(request),
        "files": {
            file.relative_to(folder).as_posix(): {"sha256": sha256(file), "bytes": file.stat().st_size}
            for file in sorted(folder.rglob("*"))
            if file.is_file() and file.name != MANIFEST
        },
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }


def _weights(request: BuildRequest) -> dict[str, Any]:
    if request.checkpoint is None:
        return {"seed": request.seed}
    base = {} if request.base is None else {"base": request.base.name}
    lacks = [name for name in FUNCTIONS if not getattr(request.traits, name)]
    identity = weights_identity(request).rpartition(" ")[2]
    return {"checkpoint": request.checkpoint.name, **base, "sha256": identity, "lacks": lacks}


def _entries(request: BuildRequest) -> dict[str, Any]:
    components = {name: request.component(name) for name in request.components}
    described = {}
    for entry in entries_for(request.traits):
        tensors = interface(entry, components, request.sizes())
        described[entry.name] = {
            "inputs": [dataclasses.asdict(spec) for spec in tensors.inputs],
            "outputs": [dataclasses.asdict(spec) for spec in tensors.outputs],
            "parameters": list(entry.components),
        }
    return described
