"""pin_memory: off, each of the three places raises; on, each gives its values."""

from __future__ import annotations

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_passes, failures, needs_no_cuda

BOX = """
import torch
from sam3.model_builder import _create_geometry_encoder

torch.manual_seed(0)
encoder = _create_geometry_encoder().eval()
maps, boxes = torch.randn(2, 256, 24, 24), torch.rand(3, 2, 4) * 0.4 + 0.3
labels, mask = torch.ones(3, 2, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
with torch.no_grad():
    embedded, _ = encoder._encode_boxes(boxes, mask, labels, maps)
    swapped, _ = encoder._encode_boxes(boxes.flip(1), mask.flip(0), labels, maps.flip(0))
assert embedded.shape == (3, 2, 256)
torch.testing.assert_close(embedded, swapped.flip(1))
"""
TIME = """
import types
import torch
from sam3.model.sam3_tracker_base import Sam3TrackerBase
from sam3.model.sam3_tracker_utils import get_1d_sine_pe

tracker = types.SimpleNamespace(hidden_dim=32, obj_ptr_tpos_proj=torch.nn.Identity())
encoded = Sam3TrackerBase._get_tpos_enc(tracker, [0, 1, 5], device=torch.device("cpu"), max_abs_pos=6)
assert torch.equal(encoded, get_1d_sine_pe(torch.tensor([0.0, 0.2, 1.0]), dim=32))
"""
OUTPUT = """
import types
import torch
from sam3.model.sam3_video_inference import Sam3VideoInference

mask = torch.zeros(1, 8, 10, dtype=torch.bool)
mask[0, 2:4, 3:7] = True
out = {
    "obj_id_to_mask": {7: mask, 3: torch.zeros_like(mask)},
    "obj_id_to_score": {7: 0.5, 3: 0.75},
    "obj_id_to_tracker_score": {7: 0.25},
}
shown = Sam3VideoInference._postprocess_output(types.SimpleNamespace(), {"orig_height": 8, "orig_width": 10}, out)
assert shown["out_obj_ids"].tolist() == [7] and shown["out_probs"].tolist() == [0.5]
assert (shown["out_binary_masks"] == mask.numpy()).all()
torch.testing.assert_close(torch.tensor(shown["out_boxes_xywh"]), torch.tensor([[0.3, 0.25, 0.3, 0.125]]))
"""
PLACES = {"geometry_encoders.py": BOX, "sam3_tracker_base.py": TIME, "sam3_video_inference.py": OUTPUT}


@needs_no_cuda
def test_off_a_host_tensor_cannot_be_pinned(upstream_python: RunPython) -> None:
    run = upstream_python(failures(PLACES.items()), disable=["pin_memory"])
    assert_passes(run)
    for where, failure in zip(PLACES, run.stdout.splitlines(), strict=True):
        assert failure == f"{where}: RuntimeError: Cannot access accelerator device when none is available."


def test_on_the_values_are_there(loaded_python: LoadedPython) -> None:
    assert_passes(loaded_python("".join(PLACES.values())))
