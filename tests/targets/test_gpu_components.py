"""Every component of the tiny model for a GPU: code is generated, every kernel is parallel, and the numbers are right.

None of it needs the device: kernels are run on the CPU, as loops (see `tests.targets.loops`).
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tvm import tirx

from sam3port.artifact import weights as parameters
from sam3port.artifact.interface import Capacity
from sam3port.compiler import ir
from sam3port.compiler.optimise import alone
from sam3port.compiler.stage import EXPORTED, LIBRARY, OBJECTS, OPTIMISED, PARAMETERS, RECORD
from sam3port.kernels.gpu.launch import launches, threads
from sam3port.kernels.gpu.metal_source import shared_memory
from sam3port.model.preset import preset
from sam3port.plugins import load_plugins
from sam3port.targets.host import changed, host_target
from tests.compiled import compiled
from tests.targets.loops import as_loops

COMPONENTS = load_plugins().components()
FATBIN = bytes.fromhex("50ed55ba")
"""How a fat binary begins (fatbinary_section.h of the CUDA toolkit)."""

pytestmark = pytest.mark.target("cuda", "metal")


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_kernel_has_threads(name: str, built_for_gpu: Path) -> None:
    module = alone(ir.load(built_for_gpu / name / OPTIMISED), "main")
    kernels = {v.name_hint: f for v, f in module.functions_items() if isinstance(f, tirx.PrimFunc)}
    assert kernels
    for kernel, function in kernels.items():
        counts = [threads(launch) for launch in launches(function)]
        assert counts and all(0 < count <= 256 for count in counts), f"{kernel}: {counts}"


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_kernels_compute_what_pytorch_computes(name: str, built_for_gpu: Path) -> None:
    """The exported program in PyTorch against the kernels as they were compiled for the device, on an unseen input."""
    import torch
    import tvm
    from tvm import relax

    from sam3port.compiler import export
    from sam3port.patching.install import make_plan

    for patch in make_plan(None, frozenset()).patches:
        if patch.prepare is not None:
            patch.prepare()
    component, sizes = COMPONENTS[name](Capacity()), preset("tiny")
    example = component.example(sizes, 1)
    module, loops = as_loops(alone(ir.load(built_for_gpu / name / OPTIMISED), "main"))
    assert loops, "nothing was scheduled for a GPU"
    host = changed(host_target(), **{"opt-level": 1})
    machine = relax.VirtualMachine(compiled(module, host), tvm.cpu())
    weights = parameters.read(built_for_gpu / name / PARAMETERS).values()
    found = machine["main"](*(tvm.runtime.tensor(np.array(array)) for array in (*example.values(), *weights)))
    with torch.no_grad():
        program = export.load(built_for_gpu / name / EXPORTED).module()
        expected = program(*(torch.from_numpy(np.array(array)) for array in example.values()))
    for spec, ours, theirs in zip(component.outputs(sizes), found, expected, strict=True):
        assert ours.numpy().dtype == theirs.numpy().dtype
        near = component.tolerance
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=near.rtol, atol=near.atol, err_msg=spec.name)


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_library_holds_code_for_the_device(name: str, target: str, built_for_gpu: Path) -> None:
    record = json.loads((built_for_gpu / name / RECORD).read_text(encoding="utf-8"))
    assert (record["target"], record["device"]) == (target, target)
    if target == "cuda":
        library = (built_for_gpu / name / LIBRARY).read_bytes()
        assert FATBIN in library, "the library holds no machine code"
        assert b"__global__" not in library, "the library holds source, to be compiled where it is loaded"
        return
    with tarfile.open(built_for_gpu / name / OBJECTS) as archive:
        objects = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    for content in objects:
        assert content[:8] == bytes.fromhex("cffaedfe 0c000001"), "no 64-bit Mach-O file for arm64"
    sources = b"".join(objects).decode("latin-1")
    used = shared_memory(sources[sources.index("#include <metal_stdlib>") :])
    assert used
    assert max(used.values()) <= 32 << 10
