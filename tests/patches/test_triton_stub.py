"""triton_stub: off, upstream's modules want triton; on, they import, and nobody else sees a triton."""

from __future__ import annotations

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails, assert_passes, failures, needs_no_triton

MODULES = {
    "sam3.model.edt": "edt.py",
    "sam3.perflib.triton.nms": "nms.py",
    "sam3.perflib.triton.connected_components": "connected_components.py",
    "sam3.train.loss.sigmoid_focal_loss": "sigmoid_focal_loss.py",
}


@needs_no_triton
def test_off_importing_upstream_fails(upstream_python: RunPython) -> None:
    run = upstream_python("import sam3", disable=["triton_stub"])
    assert_fails(run, "edt.py", "ModuleNotFoundError: No module named 'triton'")


@needs_no_triton
def test_off_each_module_wants_triton(upstream_python: RunPython) -> None:
    # Without the package's __init__, which would fail at model/edt.py first.
    bare = """
import sys, types
import sam3port.patching.install as installed
package = types.ModuleType("sam3")
package.__path__ = [str(installed.current().plan.upstream.root / "sam3")]
sys.modules["sam3"] = package
"""
    code = bare + failures((file, f"import {module}") for module, file in MODULES.items())
    run = upstream_python(code, disable=["triton_stub"])
    assert_passes(run)
    for file, failure in zip(MODULES.values(), run.stdout.splitlines(), strict=True):
        assert failure == f"{file}: ModuleNotFoundError: No module named 'triton'"


def test_on_every_module_imports(upstream_python: RunPython) -> None:
    assert_passes(upstream_python("".join(f"import {module}\n" for module in ("sam3", *MODULES))))


@needs_no_triton
def test_on_the_stand_in_is_invisible_to_others(upstream_python: RunPython) -> None:
    code = """
        import sys
        import sam3, sam3.perflib.triton.nms
        import torch, torch._inductor.config, torch._inductor.compile_fx
        assert "triton" not in sys.modules
        try:
            import triton
        except ModuleNotFoundError as error:
            assert str(error) == "No module named 'triton'", error
        else:
            raise AssertionError("a triton can be imported")
        class Double(torch.nn.Module):
            def forward(self, x):
                return 2 * x
        assert torch.export.export(Double(), (torch.ones(2),)).module()(torch.ones(2)).tolist() == [2, 2]
        """
    assert_passes(upstream_python(code))


@needs_no_triton
def test_on_a_kernel_says_why_it_cannot_run(loaded_python: LoadedPython) -> None:
    code = """
        import torch
        from sam3.perflib.triton import connected_components, nms
        from sam3.train.loss import sigmoid_focal_loss as loss
        from sam3port.errors import StubError

        def refused(function, *arguments):
            try:
                function(*arguments)
            except StubError as error:
                assert "the module triton is not installed here" in str(error)
                assert "need a CUDA machine" in error.remedy
                return str(error).split()[0]
            raise AssertionError(f"{function} ran")

        assert refused(nms.nms_triton, torch.eye(3), torch.rand(3), 0.5) == "_nms_suppression_kernel"
        assert refused(connected_components._any_combine, 1, 2) == "_any_combine"
        focal = torch.rand(3), torch.rand(3), 0.25, 2.0
        assert refused(loss.triton_sigmoid_focal_loss, *focal) == "sigmoid_focal_loss_fwd_kernel"
        """
    assert_passes(loaded_python(code))


def test_on_cpu_tensors_go_around_the_kernels(loaded_python: LoadedPython) -> None:
    code = """
        import torch
        from sam3.perflib.nms import generic_nms
        from sam3.perflib.connected_components import connected_components
        ious = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
        assert generic_nms(ious, torch.tensor([0.1, 0.9, 0.5]), 0.5).tolist() == [1, 2]
        labels, areas = connected_components(torch.tensor([[[1, 1, 0, 1]]]))
        assert labels.tolist() == [[[[1, 1, 0, 2]]]] and areas.tolist() == [[[[2, 2, 0, 1]]]]
        """
    assert_passes(loaded_python(code))
