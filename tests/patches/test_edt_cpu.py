"""edt_cpu: off, the distance transform refuses CPU tensors; on, clicks are sampled in the middle of an error."""

from __future__ import annotations

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails, assert_passes, needs_no_cuda

CLICK = """
import torch
from sam3.model.sam3_tracker_utils import get_next_point

truth = torch.zeros(3, 1, 40, 50, dtype=torch.bool)
truth[0, 0, 10:21, 20:31] = True  # missed: a positive click in its middle
predicted = torch.zeros_like(truth)
predicted[1, 0, 0:7, 0:7] = True  # invented, at the border: a negative click in its middle
points, labels = get_next_point(truth, predicted, "center")
assert points.tolist() == [[[25, 15]], [[3, 3]], [[0, 0]]], points
assert labels.tolist() == [[1], [0], [0]], labels
"""


@needs_no_cuda
def test_off_the_transform_wants_cuda(upstream_python: RunPython) -> None:
    # By traceback, which has the text of patched modules; the interpreter's own printer looks for files.
    shown = "except AssertionError:\n    sys.exit(traceback.format_exc())\n"
    code = f"import sys, traceback\ntry:\n    exec({CLICK!r})\n{shown}"
    run = upstream_python(code, disable=["edt_cpu"])
    assert_fails(run, "edt.py", "AssertionError")
    assert "assert data.is_cuda" in run.stderr


def test_on_a_click_is_sampled_in_the_middle(loaded_python: LoadedPython) -> None:
    assert_passes(loaded_python(CLICK))


def test_on_the_clicks_are_those_of_upstreams_slow_way(loaded_python: LoadedPython) -> None:
    code = """
        import sys
        import torch
        try:
            import cv2
        except ImportError:
            sys.exit("no cv2")
        from sam3.model import sam3_tracker_utils as clicks

        torch.manual_seed(0)
        for _ in range(10):
            # smooth random regions, so that the farthest pixel is rarely a tie
            truth, predicted = (
                torch.nn.functional.interpolate(torch.randn(4, 1, 5, 6), size=(61, 83), mode="bicubic") > 0.3
                for _ in range(2)
            )
            points, labels = clicks.sample_one_point_from_error_center(truth, predicted)
            slow_points, slow_labels = clicks.sample_one_point_from_error_center_slow(truth, predicted)
            assert torch.equal(points.float(), slow_points) and torch.equal(labels.int(), slow_labels)
        """
    run = loaded_python(code)
    if run.stderr.strip().endswith("no cv2"):
        import pytest

        pytest.skip("OpenCV is not installed")
    assert_passes(run)
