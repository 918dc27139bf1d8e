"""mask_iou against counting."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3port.replacements.mask_iou import mask_iou


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 4), st.integers(0, 4), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99),
    st.sampled_from([0.0, 0.4, 1.0]),
)  # fmt: skip
def test_it_counts_pixels(first: int, second: int, height: int, width: int, seed: int, odds: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(first, height, width, generator=generator) < odds
    b = torch.rand(second, height, width, generator=generator) < odds
    expected = torch.zeros(first, second)
    for i, j in torch.cartesian_prod(torch.arange(first), torch.arange(second)).tolist():
        union = int((a[i] | b[j]).sum())
        expected[i, j] = torch.tensor(float((a[i] & b[j]).sum())) / max(union, 1)
    assert torch.equal(mask_iou(a, b), expected)


def test_autocast_does_not_spoil_the_counts() -> None:
    masks = torch.rand(3, 300, 300) < 0.5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mask_iou(masks, masks), mask_iou(masks.clone(), masks.clone()))
        assert mask_iou(masks, masks).dtype == torch.float32
    assert (mask_iou(masks, masks).diagonal() == 1).all()
