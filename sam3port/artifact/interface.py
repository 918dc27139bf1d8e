"""The tensors that go in and out of a function, as who builds it and who calls it both know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
"""Named tensors on their way between processes: float32, int64 or bool."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a component."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """``float32``, ``int64`` or ``bool``."""
    meaning: str
    """Axes, units and value range, for people: "features, level 0 (stride 3.5), NCHW"."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The numbers of prompts a build takes. Fewer are padded (with masks, exactly); more are an error."""

    prompts: int = 1
    """Batched prompts on one image, the batch axis of everything after the image encoder."""
    points: int = 8
    boxes: int = 8
