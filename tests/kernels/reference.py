"""The kernels' mathematics in numpy, in whichever type: float64 is the truth, float32 what others can be asked for."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from tests.kernels.running import Array

Dtype = Any
"""``np.float32`` or ``np.float64``."""


def rounded(x: Array, dtype: str = "bfloat16") -> Array:
    """What goes into a product of that type, as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(ml_dtypes.bfloat16).astype(np.float32) if dtype == "bfloat16" else x


def convolution(x: Array, weight: Array, spec: ConvolutionSpec, dtype: Dtype) -> Array:
    """[batch, features, height, width]"""
    top, left, bottom, right = spec.padding
    padded = np.pad(x.astype(dtype), ((0, 0), (0, 0), (top, bottom), (left, right)))
    span = tuple(d * (k - 1) + 1 for d, k in zip(spec.dilation, spec.kernel, strict=True))
    windows = sliding_window_view(padded, span, (2, 3))
    windows = windows[:, :, :: spec.stride[0], :: spec.stride[1], :: spec.dilation[0], :: spec.dilation[1]]
    return np.einsum("bchwyx,fcyx->bfhw", windows, weight.astype(dtype), optimize=True)


def transposed_convolution(x: Array, weight: Array, dtype: Dtype) -> Array:
    """The stride is the kernel's size: nothing overlaps. ``weight[channels, features, kh, kw]``"""
    batch, _, height, width = x.shape
    _, features, kh, kw = weight.shape
    pixels = np.einsum("bchw,cfyx->bfhywx", x.astype(dtype), weight.astype(dtype), optimize=True)
    return np.asarray(pixels.reshape(batch, features, height * kh, width * kw))


def attention(q: Array, k: Array, v: Array, scale: float, dtype: Dtype) -> Array:
    scores = q.astype(dtype) @ k.astype(dtype).swapaxes(-1, -2) * dtype(scale)
    return softmax(scores, dtype) @ v.astype(dtype)


def softmax(x: Array, dtype: Dtype) -> Array:
    weights = np.exp(x.astype(dtype) - x.max(-1, keepdims=True).astype(dtype))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def normalised(x: Array, epsilon: float, dtype: Dtype) -> Array:
    """Along the last axis."""
    centred = x.astype(dtype) - x.astype(dtype).mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + dtype(epsilon)))
