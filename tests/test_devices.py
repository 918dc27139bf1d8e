"""The targets cuda and metal: code for them is generated everywhere, their devices are used where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import RunPython

TORCH_DEVICE = {"cuda": "cuda", "metal": "mps"}
"""What PyTorch calls the device of a target."""

CODE = """
import tvm
from tvm import te
from tvm.s_tir import dlight

n = 256
a, b = te.placeholder((n, n), name="a"), te.placeholder((n, n), name="b")
k = te.reduce_axis((0, n), name="k")
c = te.compute((n, n), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
function = te.create_prim_func([a, b, c])
target = tvm.target.Target({target!r}, host="llvm")
with target:
    module = dlight.ApplyDefaultSchedule(dlight.gpu.Fallback())(tvm.IRModule({{"main": function}}))
built = tvm.compile(module, target=target)
sources = [m.inspect_source() for m in built.mod.imports]
print(sources[0])
"""

SAME_AS_ON_THE_CPU = """
import torch
from sam3port.model.build import build_model
from sam3port.model.preset import preset

sizes = preset("tiny")
image = torch.rand(1, 3, sizes.image_size, sizes.image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1

def features(device):
    model = build_model(sizes, seed=0, interactive=False).to(device)
    with torch.no_grad():
        return [level.cpu() for level in model.backbone.forward_image(image.to(device))["backbone_fpn"]]

for here, there in zip(features("cpu"), features({device!r}), strict=True):
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)
print("same")
"""


@pytest.mark.target("cuda", "metal")
def test_tvm_generates_code_without_the_device(target: str, upstream_python: RunPython) -> None:
    if target == "cuda" and shutil.which("nvcc") is None:
        pytest.skip("TVM needs nvcc to compile for CUDA, and it is not installed")
    description = {"kind": "cuda", "arch": "sm_80"} if target == "cuda" else {"kind": "metal"}
    ran = upstream_python(CODE.format(target=description), install=False)
    assert ran.returncode == 0, ran.stderr
    assert ("__global__" if target == "cuda" else "kernel void") in ran.stdout


@pytest.mark.target("cuda", "metal")
@pytest.mark.device
def test_the_patched_image_encoder_gives_on_the_device_what_it_gives_on_the_cpu(
    target: str, upstream_python: RunPython
) -> None:
    ran = upstream_python(SAME_AS_ON_THE_CPU.format(device=TORCH_DEVICE[target]))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith("same")


@pytest.mark.target("cuda", "metal")
def test_a_required_device_that_is_absent_is_a_failure(target: str, request: pytest.FixtureRequest) -> None:
    """The rule of this suite about devices, applied to the test above in a run of its own."""
    import tvm

    if tvm.device(target).exist:
        pytest.skip(f"this machine has a {target} device")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--target", target, __file__]
    command += ["-k", "gives_on_the_device"]

    def run(**env: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "SAM3PORT_REQUIRE_DEVICE"}
        root = request.config.rootpath
        return subprocess.run(
            command, cwd=root, env=kept | env, capture_output=True, text=True, check=False, timeout=300
        )

    relaxed = run()
    assert relaxed.returncode == 0, relaxed.stdout
    assert f"this machine has no {target} device" in relaxed.stdout
    strict = run(SAM3PORT_REQUIRE_DEVICE="1")
    assert strict.returncode == 1
    assert "SAM3PORT_REQUIRE_DEVICE=1 asks for it" in strict.stdout
