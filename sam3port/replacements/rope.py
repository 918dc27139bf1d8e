"""Rotary position encoding of SAM 3 in real arithmetic.

Upstream multiplies complex64 numbers (sam3/model/vitdet.py:41-90, sam3/sam/rope.py:24-78), a type that neither
TVM nor ONNX has. Here a rotation is a pair of floats, and a row of rotations has the layout of one attention head:
``cos0, sin0, cos1, sin1, ...``, which is the memory of upstream's complex row. Upstream's own helpers for shape and
broadcasting therefore work on it as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def rotations(angles: Tensor) -> Tensor:
    """The rotation of every angle, as ``cos, sin`` side by side.

    Args:
        angles: float, ``(..., C)``, radians.

    Returns:
        ``(..., 2 C)`` of the same dtype: what ``torch.view_as_real(torch.polar(1, angles)).flatten(-2)`` holds.
    """
    return torch.stack((angles.cos(), angles.sin()), dim=-1).flatten(-2)


def rotate_pairs(x: Tensor, cis: Tensor) -> Tensor:
    """Turns every pair of neighbours in the last dimension of ``x`` by its rotation.

    The product of the complex numbers that the pairs stand for, with the same four products and two sums, so that
    values and gradients are those of PyTorch's complex multiplication.

    Args:
        x: float, ``(..., L, C)`` with even C.
        cis: rotations, broadcastable to ``x``: ``(..., L, C)``.

    Returns:
        ``(..., L, C)``.
    """
    real, imag = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2).unbind(-1)
    cos, sin = cis.reshape(*cis.shape[:-1], cis.shape[-1] // 2, 2).unbind(-1)
    return torch.stack((real * cos - imag * sin, real * sin + imag * cos), dim=-1).flatten(-2)


def load_complex_freqs_cis(_module: nn.Module, state_dict: dict[str, Any], prefix: str, *_rest: object) -> None:
    """Lets a complex ``freqs_cis`` of a checkpoint load into the real buffer; for `register_load_state_dict_pre_hook`.

    Upstream's checkpoint holds complex64 ``(L, C / 2)``; the buffer is float32 ``(L, C)``. A real entry, as a model
    with this patch saves it, stays as it is. ``load_state_dict`` hands over a copy, so the caller's dict is unchanged.
    """
    key = f"{prefix}freqs_cis"
    value = state_dict.get(key)
    if isinstance(value, Tensor) and value.is_complex():
        state_dict[key] = torch.view_as_real(value.resolve_conj()).flatten(-2)
