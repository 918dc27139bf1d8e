"""The patches together: all on, all off, and each one left out in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam3port.patching.plan import Plan
from sam3port.plugins import load_plugins
from sam3port.stubs import installed
from sam3port.upstream.source import Upstream
from tests.conftest import RunPython, clean_environment
from tests.patches.machine import assert_passes

ALL = tuple(load_plugins().patches())
SMALL = Path(__file__).with_name("small_model.py").read_text(encoding="utf-8")

every_patch = pytest.mark.parametrize("left_out", ALL)


def test_on_all_of_them_upstream_is_imported_and_built(upstream_python: RunPython) -> None:
    build = """
from sam3port.patching.install import current
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.sam3_image_processor import Sam3Processor

model = initialise(builder.build_sam3_image_model(device="cpu", load_from_HF=False, enable_inst_interactivity=True))
Sam3Processor(model, device="cpu")
assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
assert box_cxcywh_to_xyxy(torch.tensor([1.0, 1, 2, 2])).tolist() == [0, 0, 2, 2]

handle = current()
for module, patches in handle.executed.items():
    assert patches == tuple(dict.fromkeys(patch.name for patch, _ in handle.plan.edits(module))), module
assert {"sam3", "sam3.model.decoder", "sam3.model.vitdet"} <= handle.executed.keys()
"""
    assert_passes(upstream_python(SMALL + build))


def _torchvision_alone() -> str:
    """What `import torchvision` says on this machine, without anybody's help."""
    code = "try:\n    import torchvision\nexcept Exception as error:\n    print(f'{type(error).__name__}: {error}')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, timeout=120
    )
    return done.stdout.strip()


@pytest.mark.skipif(installed("triton"), reason="upstream fails without the patches only where triton is not installed")
def test_off_all_of_them_upstream_fails_as_it_does_by_itself(upstream_python: RunPython) -> None:
    """Its own first failure: torchvision beside a CPU-only torch, else triton. Nothing of ours is in the way."""
    first = _torchvision_alone() or "ModuleNotFoundError: No module named 'triton'"
    run = upstream_python("import sam3", disable=ALL)
    assert run.returncode == 1
    assert run.stderr.strip().splitlines()[-1] == first
    assert "<sam3port:" not in run.stderr  # not one module was patched


def test_off_all_of_them_is_pristine_upstream(upstream_source: Upstream) -> None:
    plan = Plan(upstream_source, ())
    assert plan.edited_modules() == ()
    for module, source in plan.other_modules():
        assert plan.patched(module, source) == source


@every_patch
def test_each_left_out_the_others_still_match(left_out: str, upstream_source: Upstream) -> None:
    """Patches do not depend on each other: all edits of the others match, and what comes out is Python."""
    patches = load_plugins().patches()
    plan = Plan(upstream_source, tuple(patch for name, patch in patches.items() if name != left_out))
    assert plan.drifts() == []
    for module in patches[left_out].modules:
        source = plan.pristine(module)
        assert source is not None
        compile(plan.patched(module, source), module, "exec")


# One interpreter that has loaded what upstream needs, torchvision mended; a fork of it for each patch left out.
EACH = """
import importlib, json, os, sys
import sam3port
from sam3port.patching.install import make_plan
from sam3port.replacements import torchvision_ops

torchvision_ops.install()
import skimage.measure, timm.layers, torchvision.transforms.v2

def try_without(name):
    found = {"error": None, "wrong": []}
    handle = sam3port.install(disable=[name])
    for module in ("sam3", *handle.plan.edited_modules()):
        try:
            importlib.import_module(module)
        except Exception as error:
            found["error"] = f"{type(error).__name__}: {error}"
            break
        expected = list(dict.fromkeys(patch.name for patch, _ in handle.plan.edits(module)))
        if list(handle.executed[module]) != expected or name in expected:
            found["wrong"].append(module)
    return found

for name in NAMES:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps([name, try_without(name)]).encode() + b"\\n")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        sys.stdout.write(stream.read() or json.dumps([name, {"error": "it died", "wrong": []}]))
        sys.stdout.flush()
    os.wait()
"""

Trials = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def trials(upstream_source: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    assert upstream_source.pinned
    script = tmp_path_factory.mktemp("sets") / "script.py"
    script.write_text(EACH.replace("NAMES", repr(ALL)))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=script.parent,
        env=clean_environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    yield dict(json.loads(line) for line in done.stdout.splitlines())


@every_patch
def test_each_left_out_the_others_apply_for_real(left_out: str, trials: Trials) -> None:
    """Every module that the others edit is imported, through exactly their edits; or upstream's own failure shows."""
    absent = {
        name: f"ModuleNotFoundError: No module named '{name.removesuffix('_stub')}'"
        for name in ALL
        if name.endswith("_stub")
    }
    needed = {name: error for name, error in absent.items() if not installed(name.removesuffix("_stub"))}
    assert trials[left_out] == {"error": needed.get(left_out), "wrong": []}
