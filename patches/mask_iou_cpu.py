"""Mask IoU on CPU without 8 bytes for every pixel of every pair of masks.

What breaks: `mask_iou` adds up booleans of shape (N, M, H * W). On CUDA the sum reads them as they are; on CPU torch
first makes an int64 copy, so the NMS among 200 detections of 288 x 288 asks for 26.5 GB: "DefaultCPUAllocator: can't
allocate memory".

Intersections are a matrix product of zeros and ones: exact in float32, as no mask has 2^24 pixels, and the union is the
two areas less the intersection. The same values. On CUDA nothing changes.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="mask_iou_cpu",
    kind=Kind.PORTABILITY,
    summary="mask IoU on CPU as a matrix product: NMS of a crowd fits into memory",
    reason="NMS of N detections asks for 8 * N * N * H * W bytes on CPU: DefaultCPUAllocator: can't allocate memory",
    upstream="sam3/perflib/masks_ops.py:66, called by sam3/perflib/nms.py:46 and sam3/model/sam3_video_base.py",
    retire_when="upstream's mask_iou does not expand the pairs, or torch sums booleans on CPU in place",
    edits=(
        Edit(
            module="sam3.perflib.masks_ops",
            symbol="mask_iou",
            before="    # Flatten masks: (N, 1, H*W) and (1, M, H*W)\n",
            after=(
                "    if not pred_masks.is_cuda and H * W < 2**24:\n"
                "        from sam3port.replacements.mask_iou import mask_iou as pairwise_iou\n\n"
                "        return pairwise_iou(pred_masks, gt_masks)\n\n"
                "    # Flatten masks: (N, 1, H*W) and (1, M, H*W)\n"
            ),
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
