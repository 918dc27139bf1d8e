"""The runtime imports no torch, and takes it away from nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_python

LOADED = """
import sys
import numpy as np
import sam3port

def answer():
    image = sam3port.load({artifact!r}).encode_image(np.zeros((64, 48, 3), np.uint8))
    return image.segment(text="cat", threshold=0)
"""

AFTER = """
found = answer()
assert "torch" not in sys.modules, "the runtime's start imports torch"
import torch, tvm, tvm_ffi
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program
assert not [finder for finder in sys.meta_path if "sam3port.runtime" in type(finder).__module__]

# torch is whole, and TVM takes its tensors and gives them back.
given = torch.arange(6, dtype=torch.float32).reshape(2, 3)
assert torch.equal(torch.from_dlpack(tvm.runtime.from_dlpack(given)), given)
assert torch.equal(tvm.get_global_func("testing.echo")(given), given)

# A model of torch's becomes a program, as in a build.
class Twice(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x) * 2

module = from_exported_program(torch.export.export(Twice(), (given,)))
machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
(result,) = machine["main"](tvm.runtime.from_dlpack(given))
np.testing.assert_array_equal(result.numpy(), Twice()(given).numpy())
np.testing.assert_array_equal(answer().scores, found.scores)
"""

BEFORE = """
import torch
first = answer()
import tvm_ffi
assert tvm_ffi.convert(torch.float16) == tvm_ffi.dtype("float16"), "TVM knows torch's dtypes, as without sam3port"
np.testing.assert_array_equal(answer().scores, first.scores)
"""

MEANWHILE = """
import threading
from sam3port.runtime import tvm_import

with tvm_import._without_torch():
    try:
        import torch
    except ModuleNotFoundError as error:
        assert error.name == "torch"
    else:
        raise AssertionError("torch was imported")
    import colorsys  # something else is
    other = threading.Thread(target=lambda: __import__("torch"))
    other.start()
    other.join()
assert sys.modules["torch"].ones(2).sum() == 2
"""

BROKEN = """
sys.modules["tvm"] = None
from sam3port.runtime.tvm_import import import_tvm
before = list(sys.meta_path)
try:
    import_tvm()
except ModuleNotFoundError:
    assert sys.meta_path == before
else:
    raise AssertionError("there is no TVM")
"""


@pytest.mark.parametrize("code", [AFTER, BEFORE, MEANWHILE, BROKEN], ids=["after", "before", "meanwhile", "broken"])
def test_whoever_imports_torch_has_it(code: str, tiny_artifact: Path, tmp_path: Path) -> None:
    ran = run_python(LOADED.format(artifact=str(tiny_artifact)) + code, tmp_path / "script.py", install=False)
    assert ran.returncode == 0, ran.stderr
