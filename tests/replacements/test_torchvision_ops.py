"""roi_align and nms against straightforward float64 loops."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sam3port.replacements import torchvision_ops


def bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """(C,) at a place of (C, H, W); 0 more than a pixel outside."""
    _, height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return image.new_zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    upper = image[:, top, left] * (1 - along) + image[:, top, right] * along
    lower = image[:, bottom, left] * (1 - along) + image[:, bottom, right] * along
    return upper * (1 - down) + lower * down


def plain_roi_align(
    maps: Tensor, rois: Tensor, scale: float, rows: int, columns: int, sampling: int, aligned: bool
) -> Tensor:
    output = maps.new_zeros(len(rois), maps.shape[1], rows, columns)
    for number, (image, *corners) in enumerate(rois.tolist()):
        x0, y0, x1, y1 = (corner * scale - (0.5 if aligned else 0) for corner in corners)
        height, width = y1 - y0, x1 - x0
        if not aligned:
            height, width = max(height, 1), max(width, 1)
        down = sampling if sampling > 0 else math.ceil(height / rows)
        along = sampling if sampling > 0 else math.ceil(width / columns)
        for row in range(rows):
            for column in range(columns):
                total = maps.new_zeros(maps.shape[1])
                for i in range(down):
                    for j in range(along):
                        y = y0 + (row + (i + 0.5) / down) * height / rows
                        x = x0 + (column + (j + 0.5) / along) * width / columns
                        total += bilinear(maps[int(image)], y, x)
                output[number, :, row, column] = total / max(down * along, 1)
    return output


# Quarters: exact in float32 and float64 alike, so that no sample lies on different sides of an edge in the two.
QUARTERS = st.integers(-20, 60).map(lambda quarter: quarter / 4)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, float, int, int, int, bool]:
    images, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    maps = torch.randn(images, channels, height, width, generator=generator)
    region = st.tuples(st.integers(0, images - 1).map(float), QUARTERS, QUARTERS, QUARTERS, QUARTERS)
    rois = draw(st.lists(region, max_size=4))
    bins = st.sampled_from([1, 2, 4])
    return (
        maps.double(),
        torch.tensor(rois, dtype=torch.float64).reshape(-1, 5),
        draw(st.sampled_from([1.0, 0.5, 0.25])),
        draw(bins),
        draw(bins),
        draw(st.sampled_from([-1, 0, 1, 2, 4])),
        draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None)
@given(cases())
def test_roi_align_is_the_plain_mean_of_samples(case: tuple[Tensor, Tensor, float, int, int, int, bool]) -> None:
    maps, rois, *rest = cast(tuple[Any, ...], case)
    expected = plain_roi_align(maps, rois, *rest)
    torch.testing.assert_close(torchvision_ops.roi_align(maps, rois, *rest), expected, rtol=1e-12, atol=1e-12)
    single = torchvision_ops.roi_align(maps.float(), rois.float(), *rest)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=2e-5, atol=2e-5)


def test_roi_align_as_upstream_uses_it() -> None:
    """7 x 7 bins on a map of 72 x 72, samples as many as there are pixels, boxes in map units."""
    torch.manual_seed(0)
    maps = torch.randn(2, 8, 72, 72)
    corners = torch.rand(2, 6, 2) * 60
    boxes = torch.cat([corners, corners + torch.rand(2, 6, 2) * 40 + 1], dim=-1)
    rois = torch.cat([torch.arange(2.0).repeat_interleave(6)[:, None], boxes.flatten(0, 1)], dim=1)
    expected = plain_roi_align(maps.double(), rois.double(), 1.0, 7, 7, -1, False)
    pooled = torchvision_ops.roi_align(maps, rois, 1.0, 7, 7, -1, False)
    torch.testing.assert_close(pooled.double(), expected, rtol=1e-5, atol=1e-5)


def test_roi_align_of_half_precision_is_rounded_once() -> None:
    torch.manual_seed(0)
    maps, rois = torch.randn(1, 4, 20, 20).half(), torch.tensor([[0, 1.5, 2.0, 17.25, 11.0]]).half()
    precise = torchvision_ops.roi_align(maps.float(), rois.float(), 1.0, 7, 7, -1, False)
    assert torch.equal(torchvision_ops.roi_align(maps, rois, 1.0, 7, 7, -1, False), precise.half())


@pytest.mark.parametrize(
    ("maps", "rois", "message"),
    [
        (torch.zeros(1, 1, 4, 4), torch.zeros(2, 4), r"Tensor\[K, 5\]"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(2, 5).double(), "same dtype"),
    ],
)
def test_roi_align_refuses_what_torchvision_refuses(maps: Tensor, rois: Tensor, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        torchvision_ops.roi_align(maps, rois, 1.0, 7, 7, -1, False)


def plain_nms(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    def area(box: list[float]) -> float:
        return (box[2] - box[0]) * (box[3] - box[1])

    def iou(a: list[float], b: list[float]) -> float:
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        union = area(a) + area(b) - shared
        return shared / union if union else math.nan

    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if not any(iou(boxes[index], boxes[better]) > threshold for better in kept):
            kept.append(index)
    return kept


SIDES = st.integers(0, 8).map(float)
BOXES = st.tuples(SIDES, SIDES, SIDES, SIDES).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BOXES, st.integers(0, 4)), max_size=12), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_nms_keeps_what_no_better_box_covers(items: list[tuple[list[float], int]], threshold: float) -> None:
    boxes, scores = [box for box, _ in items], [score / 4 for _, score in items]
    kept = torchvision_ops.nms(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == plain_nms(boxes, scores, threshold)


def test_nms_compares_in_double() -> None:
    """An IoU of 3 / 10 is 0.300000012 in float32, which is more than 0.3: torchvision's kernel drops the box."""
    boxes = torch.tensor([[0.0, 0.0, 6.5, 1.0], [3.5, 0.0, 10.0, 1.0]])
    scores = torch.tensor([0.9, 0.8])
    assert torchvision_ops.nms(boxes, scores, 0.3).tolist() == [0]
    assert torchvision_ops.nms(boxes, scores, 0.30000002).tolist() == [0, 1]
    assert torchvision_ops.nms(boxes.double(), scores.double(), 0.3).tolist() == [0, 1]
