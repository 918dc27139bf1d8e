"""The size of the decoder's feature map as plain numbers, which is what a traced graph needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sam3port.errors import UsageError

Size = tuple[Any, Any]
"""(height, width): ints, or upstream's two 0-dim tensors."""


def feature_size(spatial_shapes: Tensor | Sequence[Sequence[int]], stored: Size | None, tokens: int) -> Size:
    """Height and width of the only level.

    Outside torch.export this is upstream's own pair of 0-dim tensors (sam3/model/decoder.py:522). A traced tensor has
    no value, though, so that comparing it with anything is a data-dependent guard. Then the size comes from plain ints
    in ``spatial_shapes``, or from the resolution that the decoder was built for (upstream's ``compilable_stored_size``,
    which torch.compile uses in the same way).

    Args:
        spatial_shapes: int64 ``(1, 2)``, or ints ``((height, width),)``.
        stored: the size that the decoder was built for, None when it was built for none.
        tokens: length of the memory sequence, which the stored size must have.

    Raises:
        UsageError: the size of a traced tensor is not known.
    """
    if not isinstance(spatial_shapes, Tensor):
        ((height, width),) = spatial_shapes
        return int(height), int(width)
    if not torch.compiler.is_exporting():
        return spatial_shapes[0, 0], spatial_shapes[0, 1]
    if stored is not None and stored[0] * stored[1] == tokens:
        return stored
    raise UsageError(
        f"torch.export cannot know the size of the decoder's feature map: memory has {tokens} tokens, "
        f"and the decoder was built for {'no size' if stored is None else f'{stored[0]}x{stored[1]}'}",
        "pass spatial_shapes as plain ints, ((height, width),)",
    )
