"""torch beside the hook: what it does with patched functions, and that no stand-in gets into its way.

One fresh interpreter imports the real upstream; every test below looks at what it found.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sam3port.stubs import installed
from sam3port.upstream.source import Upstream
from tests.conftest import clean_environment

CODE = """
import json, pickle, sys, traceback
import sam3port
sam3port.install()
import sam3, sam3.perflib.triton.nms
found = {"triton": [name for name in sys.modules if name.partition(".")[0] == "triton"]}

def attempt(name):
    def run(function):
        try:
            found[name] = function()
        except Exception:
            found[name] = traceback.format_exc()
    return run

import torch
from sam3.sam.rope import apply_rotary_enc, compute_axial_cis
from sam3.model import edt, vitdet
from sam3.model.box_ops import box_cxcywh_to_xyxy

@attempt("modules")
def _():
    import torch._inductor.compile_fx, torch._inductor.runtime.triton_heuristics, torch.export, torch._dynamo
    return "imported"

@attempt("import triton")
def _():
    try:
        import triton
    except ModuleNotFoundError as error:
        return str(error)

class Rotate(torch.nn.Module):
    def forward(self, q, k):
        return apply_rotary_enc(q, k, compute_axial_cis(8, 2, 2))

QK = torch.arange(32.0).reshape(1, 1, 4, 8), torch.ones(1, 1, 4, 8)
EAGER = Rotate()(*QK)

def same(result):
    return all(torch.equal(a, b) for a, b in zip(result, EAGER, strict=True))

@attempt("export")
def _():
    return same(torch.export.export(Rotate(), QK).module()(*QK))

@attempt("compile")
def _():
    return same(torch.compile(Rotate(), backend="eager", fullgraph=True)(*QK))

@attempt("script")
def _():
    boxes = torch.tensor([[1.0, 1.0, 2.0, 2.0]])
    return torch.equal(torch.jit.script(box_cxcywh_to_xyxy)(boxes), box_cxcywh_to_xyxy(boxes))

@attempt("script of a patched module")
def _():
    from torch._sources import get_source_lines_and_file
    lines, _, file = get_source_lines_and_file(vitdet.compute_axial_cis)
    image = torch.arange(50.0).reshape(1, 5, 5, 2)
    windows, _ = vitdet.window_partition(image, 3)
    scripted, _ = torch.jit.script(vitdet.window_partition)(image, 3)
    return ["rope_real.rotations" in "".join(lines), "<sam3port: float_rope>" in file, torch.equal(scripted, windows)]


@attempt("module")
def _():
    layer = vitdet.LayerScale(4)
    return type(pickle.loads(pickle.dumps(layer))) is type(layer)

@attempt("kernel")
def _():
    from sam3port.errors import StubError
    try:
        edt.edt_kernel[(1,)](torch.ones(1))
    except StubError as error:
        return str(error)

print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(upstream_source: Upstream) -> dict[str, object]:
    assert upstream_source.pinned
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=clean_environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.skipif(installed("triton"), reason="with the real triton there is no stand-in")
def test_no_triton_for_the_rest_of_the_world(found: dict[str, object]) -> None:
    assert found["triton"] == []
    assert found["import triton"] == "No module named 'triton'"
    assert "triton is not installed here" in str(found["kernel"])
    assert "edt_kernel" in str(found["kernel"])


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("modules", "imported"),
        ("export", True),
        ("compile", True),
        ("script", True),
        ("script of a patched module", [True, True, True]),
        ("module", True),
    ],
)
def test_torch_goes_on_working(found: dict[str, object], what: str, expected: object) -> None:
    assert found[what] == expected
