"""roi_align, which box prompts need: as torchvision defines it, at the edges too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sam3port.compiler.errors import UnsupportedOperator
from sam3port.replacements.torchvision_ops import install

install()

IMAGE = torch.randn(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
BOXES = {
    "inside": [0, 1.2, 2.3, 6.1, 5.9],
    "second image": [1, 0.0, 0.0, 10.0, 8.0],
    "beyond the border": [0, -3.0, -2.0, 14.0, 11.0],
    "outside": [1, 20.0, 20.0, 25.0, 24.0],
    "smaller than a pixel": [0, 3.3, 3.3, 3.4, 3.5],
    "empty": [0, 4.0, 4.0, 4.0, 4.0],
    "on the border": [0, 9.5, 7.5, 10.0, 8.0],
    "large": [0, -1e4, -1e4, 1e4, 1e4],
}


def pool(
    image: torch.Tensor, rois: torch.Tensor, scale: float = 1.0, samples: int = -1, aligned: bool = False
) -> torch.Tensor:
    pooled: torch.Tensor = torch.ops.torchvision.roi_align(image, rois, scale, 7, 5, samples, aligned)
    return pooled


@pytest.mark.parametrize("box", [name for name in BOXES if name != "large"])
def test_as_many_samples_as_the_box_has_pixels(agrees: Callable[..., None], box: str) -> None:
    agrees(pool, IMAGE, torch.tensor([BOXES[box]]), atol=1e-5)


def test_many_boxes_scaled_with_two_samples(agrees: Callable[..., None]) -> None:
    agrees(lambda image, rois: pool(image, rois, 0.5, 2), IMAGE, torch.tensor(list(BOXES.values())), atol=1e-5)


def test_tvm_alone_is_wrong_for_aligned_boxes(agrees: Callable[..., None], without: Callable[..., Any]) -> None:
    def aligned(image: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        return pool(image, rois, 0.5, 2, aligned=True)

    box = torch.tensor([BOXES["inside"]])
    with pytest.raises(UnsupportedOperator, match="aligned"):
        agrees(aligned, IMAGE, box)
    (found,) = without("torchvision::roi_align.default", aligned, IMAGE, box)
    assert np.abs(found - aligned(IMAGE, box).numpy()).max() > 0.1
