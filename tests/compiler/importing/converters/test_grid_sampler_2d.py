"""grid_sample: TVM reads PyTorch's grid in another order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from sam3port.compiler.errors import UnsupportedOperator

OPERATOR = "grid_sampler_2d.default"
IMAGE = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
GRID = torch.rand(2, 4, 6, 2, generator=torch.Generator().manual_seed(1)) * 2.4 - 1.2
"""Some places are outside of the image."""


def sample(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return grid_sample(image, grid, align_corners=False)


@pytest.mark.parametrize("align_corners", [False, True])
def test_it_samples_where_pytorch_does(agrees: Callable[..., None], align_corners: bool) -> None:
    agrees(lambda image, grid: grid_sample(image, grid, align_corners=align_corners), IMAGE, GRID)


def test_points_as_the_geometry_encoder_has_them(agrees: Callable[..., None]) -> None:
    agrees(sample, IMAGE, GRID[:, :, :1])


@pytest.mark.parametrize("place", [0.0, 1.0, -1.0, 0.9999999, 1.5, -7.0, 1e4, -1e4, 1e8, -1e10])
def test_on_and_far_beyond_the_border(agrees: Callable[..., None], place: float) -> None:
    agrees(sample, IMAGE, torch.full_like(GRID, place))


def test_tvm_alone_samples_elsewhere(without: Callable[..., Any]) -> None:
    square = GRID[:, :2, :2]  # other shapes of the grid do not even give an output of the right shape
    (found,) = without(OPERATOR, sample, IMAGE, square)
    assert found.shape != (2, 3, 2, 2) or np.abs(found - sample(IMAGE, square).numpy()).max() > 0.1


def test_what_was_not_checked_is_refused(agrees: Callable[..., None]) -> None:
    with pytest.raises(UnsupportedOperator, match="bilinear"):
        agrees(lambda image, grid: grid_sample(image, grid, mode="nearest", align_corners=False), IMAGE, GRID)
    with pytest.raises(UnsupportedOperator, match="zeros"):
        agrees(lambda image, grid: grid_sample(image, grid, padding_mode="border", align_corners=False), IMAGE, GRID)
