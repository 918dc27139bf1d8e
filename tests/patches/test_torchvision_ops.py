"""torchvision_ops: off, torchvision cannot be imported beside a CPU-only torch; on, roi_align and nms work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import RunPython, clean_environment
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails, assert_passes

WORKING = "import torchvision, sys; sys.exit(0 if torchvision.extension._has_ops() else 1)"


@pytest.fixture(scope="module")
def torchvision_works() -> bool:
    """Whether torchvision's own C++ library loads here, without any patch."""
    run = subprocess.run([sys.executable, "-c", WORKING], env=clean_environment(), capture_output=True, text=True)
    return run.returncode == 0


def test_off_torchvision_cannot_be_imported(upstream_python: RunPython, torchvision_works: bool) -> None:
    if torchvision_works:
        pytest.skip("torchvision's own C++ library loads on this machine")
    run = upstream_python("import sam3", disable=["torchvision_ops"])
    assert_fails(run, "torchvision", "RuntimeError: operator torchvision::nms does not exist")


def test_on_it_says_whether_it_had_something_to_do(upstream_python: RunPython, torchvision_works: bool) -> None:
    code = f"""
        import sam3port
        import sam3
        with sam3port.install() as handle:
            done = handle.prepared["torchvision_ops"]
        assert done == {"torchvision's own operators load here" if torchvision_works else None!r}, done
        """
    assert_passes(upstream_python(code))


def test_on_the_operators_work(loaded_python: LoadedPython) -> None:
    code = """
        import sam3, torch, torchvision
        from torchvision.ops import masks_to_boxes, nms, roi_align

        ramp = torch.arange(12.0).expand(1, 3, 10, 12)
        boxes = [torch.tensor([[1.0, 1.0, 8.0, 8.0]])]
        pooled = roi_align(ramp, boxes, 7)
        assert pooled.shape == (1, 3, 7, 7)
        # Bins of one pixel, one sample in the middle of each: the ramp itself, half a pixel further.
        torch.testing.assert_close(pooled[0, 0], torch.arange(1.5, 8.0).expand(7, 7))
        boxes = torch.tensor([[0, 0, 10, 10.0], [1, 1, 10, 10], [20, 20, 30, 30]])
        kept = nms(boxes, torch.tensor([0.1, 0.9, 0.5]), 0.5)
        assert kept.tolist() == [1, 2]
        """
    assert_passes(loaded_python(code))


def test_on_the_operator_is_exported_by_its_own_name(loaded_python: LoadedPython) -> None:
    code = """
        import sam3, torch, torchvision

        class Pool(torch.nn.Module):
            def forward(self, maps, boxes):
                return torchvision.ops.roi_align(maps, [boxes], 7)

        maps, boxes = torch.randn(1, 4, 9, 9), torch.tensor([[0.5, 1.0, 6.0, 7.5], [2.0, 2.0, 3.0, 8.0]])
        exported = torch.export.export(Pool(), (maps, boxes), dynamic_shapes=(None, {0: torch.export.Dim("n", max=64)}))
        assert "torchvision.roi_align.default" in [str(node.target) for node in exported.graph.nodes]
        for some in (boxes, boxes[[1, 0, 1]]):
            torch.testing.assert_close(exported.module()(maps, some), Pool()(maps, some), rtol=0, atol=0)
        """
    assert_passes(loaded_python(code))


def test_on_gradients_and_autocast_are_as_torchvisions(loaded_python: LoadedPython) -> None:
    code = """
        import sam3, torch, torchvision

        torch.manual_seed(0)
        maps = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
        rois = torch.tensor([[0, 0.3, 0.2, 5.9, 4.0], [1, 2.0, 1.0, 2.5, 6.5], [0, -3.0, -1.0, 9.0, 8.0]]).double()
        for sampling, aligned in ((-1, False), (2, True)):
            pool = lambda x: torchvision.ops.roi_align(x, rois, (3, 2), 0.9, sampling, aligned)
            assert torch.autograd.gradcheck(pool, (maps,))
        # Of no region, as the geometry encoder pools when it learns from a text alone.
        torchvision.ops.roi_align(maps, rois[:0], 3).sum().backward()
        assert not maps.grad.any()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = torchvision.ops.roi_align(maps.bfloat16(), rois.float(), 3)
        assert half.dtype == torch.bfloat16
        """
    assert_passes(loaded_python(code))


def test_on_other_operators_still_say_what_is_missing(upstream_python: RunPython, torchvision_works: bool) -> None:
    if torchvision_works:
        pytest.skip("torchvision's own C++ library loads on this machine")
    code = """
        import sam3, torch, torchvision
        torchvision.ops.deform_conv2d(torch.rand(1, 3, 9, 9), torch.rand(1, 18, 7, 7), torch.rand(3, 3, 3, 3))
        """
    assert_fails(upstream_python(code), "torchvision", "RuntimeError: Couldn't load custom C\\+\\+ ops")
