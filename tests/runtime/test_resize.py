"""Equal to PyTorch, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from sam3port.runtime.resize import resize

SIZES = [
    (1, 1),
    (1, 300),
    (300, 1),
    (2, 3),
    (13, 900),
    (50, 40),
    (111, 113),
    (112, 112),
    (112, 300),
    (480, 640),
    (997, 7),
]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_torch(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    resized = interpolate(tensor, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("side", [112, 257])
def test_every_value_is_torchs(height: int, width: int, side: int) -> None:
    picture = noise(height, width)
    np.testing.assert_array_equal(resize(picture, side, side), by_torch(picture, side, side))


def test_the_full_models_size_and_black_and_white() -> None:
    picture = np.where(noise(1200, 1800) > 127, np.uint8(255), np.uint8(0))
    np.testing.assert_array_equal(resize(picture, 1008, 1008), by_torch(picture, 1008, 1008))


def test_pillow_would_not_do() -> None:
    """Why this is not Pillow's: if this fails, it can be."""
    picture = noise(480, 640)
    pillow = np.asarray(Image.fromarray(picture).resize((1008, 1008), Image.Resampling.BILINEAR))
    differing = pillow != by_torch(picture, 1008, 1008)
    assert 0.001 < differing.mean() < 0.1
