"""What the runs are: the reference is upstream itself, and the yardstick is float64 from one end to the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3port.model.preset import preset
from sam3port.plugins import load_plugins
from tests.conftest import clean_environment
from tests.verify.conftest import TinyProof

COMPONENTS = load_plugins().components()

WATCH = """
import contextlib, json, sys
from pathlib import Path
import sam3port.verify.run_torch as run_torch

seen = {}

def upstream(build, name, model, original=run_torch._upstream):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for tensor in tree_leaves((args, kwargs, result)):
                if isinstance(tensor, torch.Tensor):
                    seen.setdefault(name, set()).add(str(tensor.dtype).removeprefix("torch."))
            return result

    module = original(build, name, model)
    def call(*inputs):
        with Note():
            return module(*inputs)
    return call

run_torch._upstream = upstream
run_torch.main()
Path(sys.argv[1]).with_name("seen.json").write_text(json.dumps({name: sorted(types) for name, types in seen.items()}))
"""

PLAIN = """
import contextlib
import torch
import sam3port.verify.float64 as float64

@contextlib.contextmanager
def in_float64():
    torch.set_default_dtype(torch.float64)  # what `model.double()` comes to
    yield

float64.in_float64 = in_float64
import sam3port.verify.run_torch as run_torch
run_torch.main()
"""


def again(tiny_proof: TinyProof, run: str, components: list[str], folder: Path, script: str) -> list[dict[str, Any]]:
    """The run of ``tiny_proof`` once more, on one input of each component, by ``script``; its events."""
    request = json.loads((tiny_proof.kept / run / "request.json").read_text(encoding="utf-8"))
    request["out"] = str(folder)
    request["cases"] = {name: request["cases"][name][:1] for name in components}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    with (folder / "errors.txt").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder / "request.json")],
            env=clean_environment(),
            stdin=subprocess.PIPE,  # stays open: its end would end the run
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout]
        status = process.wait(timeout=60)
        errors.seek(0)
        assert status == 0, errors.read()
    return events


@pytest.mark.parametrize("run", ["reference", "float64", "patched"])
def test_types_that_upstream_computes_with(run: str, tiny_proof: TinyProof, tmp_path: Path) -> None:
    again(tiny_proof, run, list(COMPONENTS), tmp_path, WATCH)
    seen = {name: set(types) for name, types in json.loads((tmp_path / "seen.json").read_text()).items()}
    assert set(seen) == set(COMPONENTS)
    narrow = {"float16", "bfloat16", "float32", "complex64"}
    for name, types in seen.items():
        if run == "float64":
            assert "float64" in types, name
            assert not types & narrow, name
        else:
            assert types & narrow <= {"float32", "complex64"}, name
    rotates = "complex128" if run == "float64" else "complex64"
    for name in ("vision_backbone", "image_encoder"):
        assert (rotates in seen[name]) == (run != "patched"), "the patch float_rope is where it must not be, or not"


def test_a_yardstick_that_is_not_float64_ends_its_run(tiny_proof: TinyProof, tmp_path: Path) -> None:
    """Upstream calls .float() in its rotary encoding: a model in float64 alone is not enough."""
    events = again(tiny_proof, "float64", ["vision_backbone"], tmp_path, PLAIN)
    (failed,) = (event for event in events if event["event"] == "failed")
    assert failed["component"] == "vision_backbone"
    assert "the float64 run computes" in failed["problem"]
    assert "float32" in failed["problem"] or "complex64" in failed["problem"]


@pytest.mark.parametrize("name", COMPONENTS)
def test_float64_is_as_far_from_float32_as_rounding_is(name: str, tiny_proof: TinyProof) -> None:
    """Not equal (then it would be float32 in disguise), and not far (then it would be another model)."""
    found = {}
    for spec in COMPONENTS[name]().outputs(preset("tiny")):
        if spec.dtype != "float32":
            continue
        file = f"{name}--seed-1000.npz"
        with np.load(tiny_proof.kept / "reference" / file) as r, np.load(tiny_proof.kept / "float64" / file) as f:
            single, double = r[spec.name], f[spec.name]
        assert single.dtype == np.float32
        assert double.dtype == np.float64
        found[spec.name] = float(np.abs(single - double).max() / np.abs(double).max())
    assert all(error < 2e-5 for error in found.values()), found
    assert any(error > 1e-8 for error in found.values()), found
