"""connected_components_cpu: off, no objects are refused; on, they give nothing, and areas are upstream's."""

from __future__ import annotations

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails, assert_passes

NOTHING = """
import torch
from sam3.model.sam3_tracker_utils import fill_holes_in_mask_scores
filled = fill_holes_in_mask_scores(torch.zeros(0, 1, 8, 9), max_area=16)
assert filled.shape == (0, 1, 8, 9) and filled.dtype == torch.float32
"""
AREAS = """
import torch
from sam3.perflib.connected_components import connected_components

torch.manual_seed(0)
masks = torch.cat([torch.rand(3, 1, 40, 51) < odds for odds in (0.1, 0.4, 0.7)]).to(torch.uint8)
masks = torch.cat([masks, torch.zeros(1, 1, 40, 51, dtype=torch.uint8), torch.ones(1, 1, 40, 51, dtype=torch.uint8)])
labels, areas = connected_components(masks)
print(labels.dtype, areas.dtype, labels.shape, areas.shape)
print(labels.flatten().tolist(), areas.flatten().tolist())
"""


def test_off_no_objects_are_refused(upstream_python: RunPython) -> None:
    run = upstream_python(NOTHING, disable=["connected_components_cpu"])
    assert_fails(run, "connected_components.py", "RuntimeError: stack expects a non-empty TensorList")


def test_on_no_objects_give_nothing(loaded_python: LoadedPython) -> None:
    assert_passes(loaded_python(NOTHING))


def test_on_and_off_give_the_same_labels_and_areas(upstream_python: RunPython, loaded_python: LoadedPython) -> None:
    on = loaded_python(AREAS)
    off = upstream_python(AREAS, disable=["connected_components_cpu"])
    assert_passes(on)
    assert_passes(off)
    assert on.stdout == off.stdout
