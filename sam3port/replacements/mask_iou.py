"""Intersection over union of pairs of masks (sam3/perflib/masks_ops.py:47), by a matrix product."""

from __future__ import annotations

import torch


def mask_iou(pred_masks: torch.Tensor, gt_masks: torch.Tensor) -> torch.Tensor:
    """The IoU of every pair.

    Args:
        pred_masks: (N, H, W), bool, with H * W < 2^24, so that float32 counts exactly.
        gt_masks: (M, H, W), bool.

    Returns:
        (N, M), float32, in [0, 1]; 0 for two empty masks.
    """
    with torch.autocast(pred_masks.device.type, enabled=False):  # bfloat16 counts to 256
        predicted, truth = pred_masks.flatten(1).float(), gt_masks.flatten(1).float()
        shared = predicted @ truth.T
        union = predicted.sum(1)[:, None] + truth.sum(1)[None, :] - shared
        return shared / union.clamp(min=1)
