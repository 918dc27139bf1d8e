"""Every component runs on upstream with the portability patches only, and computes there what it does with all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sam3port.model.preset import Preset
from sam3port.patching.patch import Kind
from sam3port.plugins import load_plugins
from tests.components.conftest import BATCHED, COMPONENTS, Stage
from tests.conftest import RunPython

CODE = """
import numpy as np
import torch

from sam3port.artifact.interface import Capacity
from sam3port.model.build import build_model
from sam3port.model.preset import preset
from sam3port.plugins import load_plugins

torch.set_num_threads(1)
sizes = preset("tiny")
model = build_model(sizes, seed=0)
assert any(buffer.is_complex() for buffer in model.buffers()), "the reference's rotary encoding is upstream's"
found = {}
with torch.no_grad():
    for name, component in load_plugins().components().items():
        component = component(Capacity(prompts=3, points=3, boxes=4))
        module = component.module(model, sizes).eval()
        for case, inputs in {"seed": component.example(sizes, 1), **component.edges(sizes)}.items():
            results = module(*(torch.from_numpy(array.copy()) for array in inputs.values()))
            for spec, result in zip(component.outputs(sizes), results, strict=True):
                found[f"{name}/{case}/{spec.name}"] = result.numpy()
np.savez("reference.npz", **found)
"""


def test_on_upstream_as_it_is(upstream_python: RunPython, tmp_path: Path, tiny: Any, sizes: Preset) -> None:
    patches = load_plugins().patches().values()
    others = [patch.name for patch in patches if patch.kind is not Kind.PORTABILITY]
    assert {"float_rope", "feat_sizes", "static_shapes"} <= set(others)
    run = upstream_python(CODE, disable=others)
    assert run.returncode == 0, run.stderr
    compared = 0
    with np.load(tmp_path / "reference.npz") as reference:
        for name, cls in COMPONENTS.items():
            component = cls(BATCHED)
            stage = Stage(component, tiny, sizes)
            for case, inputs in {"seed": component.example(sizes, 1), **component.edges(sizes)}.items():
                for output, array in stage(inputs).items():
                    expected = reference[f"{name}/{case}/{output}"]
                    scale = max(1.0, float(np.abs(expected).max()))
                    np.testing.assert_allclose(array / scale, expected / scale, 0, 2e-6, err_msg=f"{name} {output}")
                    compared += 1
        assert compared == len(reference.files)
