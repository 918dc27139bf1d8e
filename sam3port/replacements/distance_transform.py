"""The Euclidean distance transform of upstream's triton kernel (sam3/model/edt.py:117), on CPU."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

NO_ZERO: Final = 1e9
"""What the kernel gives where an image has no zero: it starts from 1e18 for the squared distance, and no parabola of
such a height is lower than another one at its own place, so both passes return 1e18."""


def euclidean_distance_transform(data: torch.Tensor) -> torch.Tensor:
    """The distance of every pixel to the nearest False pixel of its image, in pixels.

    Args:
        data: (B, H, W), bool, on any device. B, H and W may be 0.

    Returns:
        (B, H, W), float32, on the same device: 0 where ``data`` is False, 1e9 everywhere in an image that is all True.
        Exact up to the rounding to float32, as the kernel is for images of up to 4096 pixels a side.

    Raises:
        TypeError: ``data`` is not bool (the kernel's ``torch.where`` refuses it too).
        ValueError: ``data`` is not (B, H, W).
    """
    if data.dtype != torch.bool:
        raise TypeError(f"a distance transform takes a bool tensor, not {data.dtype}")
    if data.dim() != 3:
        raise ValueError(f"a distance transform takes a tensor of shape (B, H, W), not {tuple(data.shape)}")
    masks = data.cpu().numpy()
    distances = np.empty(masks.shape, dtype=np.float32)
    for mask, distance in zip(masks, distances, strict=True):
        # SciPy measures an image without background from an arbitrary place outside of it.
        distance[...] = NO_ZERO if mask.all() else distance_transform_edt(mask)
    return torch.from_numpy(distances).to(data.device)
