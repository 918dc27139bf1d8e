"""mask_iou_cpu: off, the NMS of a crowd does not fit into memory; on, it does, with the same values."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails, assert_passes

CROWD = """
import resource
import torch
from sam3.perflib.nms import nms_masks

# 200 queries of upstream's decoder, at the size of its masks: 8 * 200 * 200 * 288 * 288 bytes are 26.5 GB.
limit = 16 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
torch.manual_seed(0)
masks = torch.nn.functional.interpolate(torch.randn(200, 1, 4, 4), size=(288, 288), mode="bilinear")[:, 0]
keep = nms_masks(torch.rand(200), masks, prob_threshold=0.0, iou_threshold=0.5)
assert keep.dtype == torch.bool and 1 < keep.sum() < 200, keep.sum()
"""
VALUES = """
import torch
from sam3.perflib.masks_ops import mask_iou

torch.manual_seed(0)
a = torch.nn.functional.interpolate(torch.randn(9, 1, 4, 4), size=(50, 61), mode="bilinear")[:, 0] > 0
b = torch.cat([a[:4], torch.zeros_like(a[:1]), torch.ones_like(a[:1])])
for masks, others in ((a, b), (b, a), (a[:0], b), (a, b[:0])):
    ious = mask_iou(masks, others)
    print(ious.dtype, ious.shape, [value.hex() for value in ious.flatten().tolist()])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_off_the_nms_of_a_crowd_does_not_fit(upstream_python: RunPython) -> None:
    run = upstream_python(CROWD, disable=["mask_iou_cpu"])
    message = "RuntimeError: .*DefaultCPUAllocator: can't allocate memory: .* 26542080000 bytes"
    assert_fails(run, "masks_ops.py", message)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_on_the_nms_of_a_crowd_fits(upstream_python: RunPython) -> None:
    assert_passes(upstream_python(CROWD))


def test_on_and_off_give_the_same_values(upstream_python: RunPython, loaded_python: LoadedPython) -> None:
    on, off = loaded_python(VALUES), upstream_python(VALUES, disable=["mask_iou_cpu"])
    assert_passes(on)
    assert_passes(off)
    assert on.stdout == off.stdout
