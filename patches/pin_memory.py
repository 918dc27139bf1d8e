"""Page-locked memory exists only beside an accelerator.

What breaks: three places of upstream page-lock a small host tensor before they copy it to the model's device. Without
an accelerator ``Tensor.pin_memory`` raises "Cannot access accelerator device when none is available".

On CUDA nothing changes. Elsewhere the tensor is copied as it is; the values are the same.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="pin_memory",
    kind=Kind.PORTABILITY,
    summary="page-lock small tensors only on their way to CUDA",
    reason="Tensor.pin_memory() raises on a machine without an accelerator: no box prompt, no memory, no video output",
    upstream="sam3/model/geometry_encoders.py:659, sam3_tracker_base.py:168, sam3_video_inference.py:480",
    retire_when="upstream pins only when the tensor goes to a CUDA device",
    edits=(
        Edit(
            module="sam3.model.geometry_encoders",
            symbol="SequenceGeometryEncoder._encode_boxes",
            before="scale = scale.pin_memory().to(device=",
            after="scale = (scale.pin_memory() if boxes_xyxy.is_cuda else scale).to(device=",
        ),
        Edit(
            module="sam3.model.sam3_tracker_base",
            symbol="Sam3TrackerBase._get_tpos_enc",
            before="torch.tensor(rel_pos_list).pin_memory().to(",
            after='torch.tensor(rel_pos_list, pin_memory=torch.device(device).type == "cuda").to(',
        ),
        Edit(
            module="sam3.model.sam3_video_inference",
            symbol="Sam3VideoInference._postprocess_output",
            before="keep_idx_gpu = keep_idx.pin_memory().to(",
            after="keep_idx_gpu = (keep_idx.pin_memory() if out_binary_masks.is_cuda else keep_idx).to(",
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
