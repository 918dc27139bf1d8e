"""The losses of upstream's training (sam3/train/loss/loss_fns.py), on its matchers (sam3/train/matcher.py)."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from training.batches import Batch

WEIGHTS: Final = {
    "score": 1.0, "presence": 4.0, "box": 5.0, "giou": 2.0, "mask": 15.0, "dice": 3.0, "all": 4.0, "pixels": 2.0,
    "tokens": 8.0, "click": 15.0, "click_dice": 2.0, "click_iou": 1.0, "click_object": 0.5, "marks": 4.0, "obeyed": 2.0,
}  # fmt: skip
"""How much each counts."""
_MANY: Final = 1.0
"""The weight of the one-to-many queries' losses."""


def grounding_losses(out: dict[str, Any], batch: Batch, positive: float) -> dict[str, Tensor]:
    """What the detector's answers lack.

    Args:
        out: of `Sam3Image.forward_grounding` in training: of every decoder layer, one-to-one and one-to-many.
        batch: what was asked, and the truth.
        positive: how much more a query that found something counts than one that did not.
    """
    from sam3.train.matcher import BinaryHungarianMatcherV2, BinaryOneToManyMatcher

    hungarian = BinaryHungarianMatcherV2(cost_class=2.0, cost_bbox=5.0, cost_giou=2.0, focal=True)
    to_many = BinaryOneToManyMatcher(alpha=0.3, threshold=0.4, topk=4)
    targets = _targets(batch)
    there = (targets["num_boxes"] > 0).float()
    losses: dict[str, Tensor] = {}

    def add(name: str, value: Tensor, scale: float = 1.0) -> None:
        losses[name] = losses.get(name, torch.zeros(())) + scale * value

    layers = [out, *out["aux_outputs"]]
    for index, layer in enumerate(layers):
        scale = 1.0 if index == 0 else 0.5
        found = hungarian(layer, targets)
        if index == 0:
            last = found
        score, l1, giou = _query_losses(layer["pred_logits"], layer["pred_boxes"], found, targets, positive)
        presence = F.binary_cross_entropy_with_logits(layer["presence_logit_dec"].view(-1), there)
        many = {"pred_logits": layer["pred_logits_o2m"], "pred_boxes": layer["pred_boxes_o2m"]}
        score_m, l1_m, giou_m = _query_losses(*many.values(), to_many(many, targets), targets, positive)
        add("score", score + _MANY * score_m, scale)
        add("box", l1 + _MANY * l1_m, scale)
        add("giou", giou + _MANY * giou_m, scale)
        add("presence", presence, scale)
    rows, queries, objects = last
    objects = torch.arange(len(rows)) if objects is None else objects
    place = torch.full((len(there),), -1)
    place[torch.from_numpy(batch.masked)] = torch.arange(len(batch.masked))
    shown = place[rows] >= 0
    if shown.any():
        logits, truth = out["pred_masks"][place[rows[shown]], queries[shown]], targets["masks"][objects[shown]]
        add("mask", _focal(logits, truth).mean())
        add("dice", dice(logits, truth).mean())
        everything, truth = out["semantic_seg"][:, 0], targets["all"][torch.from_numpy(batch.masked)]
        add("all", (_focal(everything, truth).mean((1, 2)) + 0.25 * dice(everything, truth)).mean())
    return losses


def _query_losses(
    logits: Tensor,
    boxes: Tensor,
    found: tuple[Tensor, Tensor, Tensor | None],
    targets: dict[str, Tensor],
    weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, boxes' distance and generalised IoU: `IABCEMdetr` and `Boxes`.

    A score is to become how well the box fits. Unlike there, the scores count also where nothing fits.
    """
    from sam3.model.box_ops import box_cxcywh_to_xyxy, fast_diag_box_iou, fast_diag_generalized_box_iou

    rows, queries, objects = found
    objects = torch.arange(len(rows)) if objects is None else objects
    logits = logits[..., 0]
    total = max(len(targets["boxes"]), 1)
    mine, truth = boxes[rows, queries], targets["boxes"][objects]
    with torch.no_grad():
        probability = logits.sigmoid()
        fit = (
            fast_diag_box_iou(box_cxcywh_to_xyxy(mine), box_cxcywh_to_xyxy(truth)) if len(rows) else logits.new_zeros(0)
        )
        goal = (probability[rows, queries] ** 0.25 * fit**0.75).clamp(min=0.01)
        positive = torch.zeros_like(logits)
        positive[rows, queries] = 1
        soft = torch.zeros_like(logits)
        soft[rows, queries] = goal
    on_positive = F.binary_cross_entropy_with_logits(logits, soft, reduction="none") * positive * weight
    on_negative = F.binary_cross_entropy_with_logits(logits, soft, reduction="none") * (1 - positive) * probability**2
    score = (on_positive + on_negative).sum() / total
    if not len(rows):
        return score, logits.sum() * 0, logits.sum() * 0
    # One object may have several queries.
    count = max(len(rows), 1)
    l1 = F.l1_loss(mine, truth, reduction="none").sum() / count
    giou = (1 - fast_diag_generalized_box_iou(box_cxcywh_to_xyxy(mine), box_cxcywh_to_xyxy(truth))).sum() / count
    return score, l1, giou


def weighted(losses: dict[str, Tensor]) -> Tensor:
    """The sum, each as much as `WEIGHTS` says."""
    # Outlines of clicks are weighted where the best of three is chosen.
    return torch.stack([value if name == "click" else WEIGHTS[name] * value for name, value in losses.items()]).sum()


def click_losses(masks: Tensor, ious: Tensor, there: Tensor, truth: Tensor, others: float = 0.0) -> dict[str, Tensor]:
    """As SAM's: of three masks the best learns its outline, all learn how good they are.

    Args:
        masks: (c, 4, side, side) logits: one for clear prompts, three for ambiguous ones.
        ious: (c, 4), what the model thinks of them.
        there: (c, 1) logits: is there an object at all.
        truth: (c, side, side), 0..1; zeros where the click is on the background.
        others: what part of the three masks' loss is that of all three. If only the best learns, three masks may learn
            to be three objects, whichever was clicked.
    """
    exists = (truth.flatten(1).amax(1) > 0).float()
    wide = truth[:, None].expand_as(masks)
    outline = WEIGHTS["click"] * _focal(masks, wide).mean((2, 3)) + WEIGHTS["click_dice"] * dice(
        masks.flatten(0, 1), wide.flatten(0, 1)
    ).view(len(masks), -1)
    three = outline[:, 1:]
    best = (1 - others) * three.min(1).values + others * three.mean(1)
    with torch.no_grad():
        sure, right = masks > 0, wide >= 0.5
        real = (sure & right).sum((2, 3)) / (sure | right).sum((2, 3)).clamp(min=1)
    return {
        "click": ((outline[:, 0] + best) * exists).sum() / exists.sum().clamp(min=1),
        # On the background every mask is wrong: its IoU is zero, and that is to be said.
        "click_iou": ((ious - real) ** 2).sum(1).mean(),
        "click_object": F.binary_cross_entropy_with_logits(there[:, 0], exists),
    }


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Of soft truth, with the usual exponent 2 and no weight between classes."""
    with torch.no_grad():
        miss = (logits.sigmoid() - truth).abs() ** 1.0
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * (0.3 + miss)


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """(n,): what the overlap of each mask with soft truth lacks, 0..1."""
    mine, truth = logits.sigmoid().flatten(1), truth.flatten(1)
    return 1 - (2 * (mine * truth).sum(1) + 1) / ((mine**2).sum(1) + (truth**2).sum(1) + 1)


def _targets(batch: Batch) -> dict[str, Tensor]:
    counts = torch.tensor([len(answer) for answer in batch.answers])
    padded = torch.zeros(len(counts), max(int(counts.max()), 1), 4)
    side = batch.click_masks.shape[-1]
    everything = torch.zeros(len(counts), side, side)
    for row, (answer, masks) in enumerate(zip(batch.answers, batch.masks, strict=True)):
        padded[row, : len(answer)] = torch.from_numpy(answer)
        if len(masks):
            everything[row] = torch.from_numpy(masks).amax(0)
    return {
        "num_boxes": counts,
        "boxes_padded": padded,
        "boxes": torch.cat([torch.from_numpy(answer) for answer in batch.answers]),
        "masks": torch.cat([torch.from_numpy(masks) for masks in batch.masks]),
        "all": everything,
    }
