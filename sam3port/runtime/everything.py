"""Every object of a picture, without being told what to look for: as SAM's automatic mask generator.

A grid of clicks, whose masks are filtered by the score that the model gives them and by their stability, and of which
those upon a better one are left out. Parameters have the names and the defaults of SAM's `SamAutomaticMaskGenerator`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3port.errors import UsageError
from sam3port.runtime.choose import apart_by, part_of_one
from sam3port.runtime.holes import component_areas

Logits = NDArray[np.float32]
Click = Callable[[Sequence[tuple[float, float]]], tuple[Logits, NDArray[np.float32]]]
"""Of n points x, y, parts of the picture: mask logits (n, 3, h, w) and scores (n, 3)."""


@dataclass(frozen=True)
class Grid:
    """How everything is found."""

    points_per_side: int = 32
    """Clicks in each row and each column."""
    pred_iou_thresh: float = 0.88
    """0..1; masks with a score above it are kept."""
    stability_score_thresh: float = 0.95
    """0..1; masks with at least that stability are kept: the IoU of the masks at a lower and a higher threshold."""
    stability_score_offset: float = 1.0
    """How much lower and higher, in logits."""
    box_nms_thresh: float = 0.7
    """0..1; a mask whose box has a higher IoU with a better one's is left out."""
    min_mask_region_area: float = 0
    """Pixels of the picture; smaller holes are filled, smaller pieces removed."""

    def check(self) -> None:
        """
        Raises:
            UsageError: a value is out of its range.
        """
        if self.points_per_side < 1:
            raise UsageError(f"points_per_side is {self.points_per_side}", "give at least 1")
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh"):
            part_of_one(getattr(self, name), name)
        for name in ("stability_score_offset", "min_mask_region_area"):
            if not 0 <= getattr(self, name) <= sys.float_info.max:
                raise UsageError(f"{name} is {getattr(self, name)}", "give a number that is not negative")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


PARAMETERS = tuple(each.name for each in fields(Grid))


def everything(click: Click, grid: Grid, height: int, width: int, at_once: int) -> tuple[Logits, NDArray[np.float32]]:
    """The masks of everything.

    Args:
        click: asks the model.
        grid: checked.
        height: of the picture, pixels, as ``width``.
        at_once: points that are asked together.

    Returns:
        mask logits (n, h, w) and scores (n,), the best first.
    """
    places = (np.arange(grid.points_per_side) + 0.5) / grid.points_per_side
    points = [(float(x), float(y)) for y in places for x in places]
    found: list[Logits] = []
    scores: list[NDArray[np.float32]] = []
    for start in range(0, len(points), at_once):
        masks, quality = click(points[start : start + at_once])
        masks, quality = masks.reshape(-1, *masks.shape[2:]), quality.reshape(-1)
        good = (quality > grid.pred_iou_thresh) & (_stability(masks, grid.stability_score_offset)
                                                   >= grid.stability_score_thresh)  # fmt: skip
        found.append(masks[good])
        scores.append(quality[good])
    logits, quality = np.concatenate(found), np.concatenate(scores)
    least = grid.min_mask_region_area * logits.shape[1] * logits.shape[2] / (height * width)
    if least > 0:
        logits = np.stack([_cleaned(mask, least) for mask in logits]) if len(logits) else logits
    there = (logits > 0).any((1, 2))
    logits, quality = logits[there], quality[there]
    one_group = np.zeros(len(quality), np.int64)
    chosen = apart_by(_common(_boxes(logits > 0)), quality, one_group, grid.box_nms_thresh)
    order = chosen[np.argsort(-quality[chosen], kind="stable")]
    return logits[order], quality[order]


def _stability(masks: Logits, offset: float) -> NDArray[np.float64]:
    inner, outer = (np.count_nonzero(masks > each, axis=(1, 2)) for each in (offset, -offset))
    stability: NDArray[np.float64] = inner / np.maximum(outer, 1)
    return stability


def _cleaned(mask: Logits, least: float) -> Logits:
    """Holes smaller than that filled, then pieces removed; of pieces that are all smaller the largest stays."""
    inside = mask > 0
    result = np.where(~inside & (component_areas(~inside) < least), np.float32(10), mask)
    inside = result > 0
    areas = component_areas(inside)
    small = inside & (areas < min(least, areas.max()))
    return np.where(small, np.float32(-10), result)


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 4): x0, y0, x1, y1 of masks that are not empty."""
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    x0, y0 = columns.argmax(1), rows.argmax(1)
    x1, y1 = columns.shape[1] - columns[:, ::-1].argmax(1), rows.shape[1] - rows[:, ::-1].argmax(1)
    return np.stack([x0, y0, x1, y1], 1)


def _common(boxes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, n): the area that each two have in common."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common: NDArray[np.float32] = np.maximum(high - low, 0).prod(2).astype(np.float32)
    return common
