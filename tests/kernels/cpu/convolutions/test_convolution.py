"""Convolutions against PyTorch in float64; no less exact than PyTorch's own in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam3port.kernels.cpu.convolutions import convolution as kernels
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from sam3port.kernels.cpu.convolutions.transposed_convolution import transposed_convolution_func
from tests.kernels.running import IN_FLOAT32, assert_as_exact, random, run

torch = pytest.importorskip("torch")
functional = torch.nn.functional


@pytest.mark.parametrize(
    ("batch", "channels", "size", "features", "kernel", "stride", "padding", "dilation", "steps"),
    [
        (1, 1, (1, 1), 1, (1, 1), 1, 0, 1, ()),
        (1, 3, (7, 5), 4, (3, 3), 1, 1, 1, ()),
        (2, 5, (9, 33), 7, (3, 3), 2, 1, 1, ("add_vector", "relu")),
        (1, 8, (6, 6), 16, (1, 1), 1, 0, 1, ("add_vector", "gelu")),
        (1, 3, (56, 56), 64, (14, 14), 14, 0, 1, ()),
        (2, 16, (20, 40), 33, (3, 3), 1, 1, 1, ("add_vector", "add_tensor")),
        (1, 64, (37, 37), 24, (3, 3), 1, 1, 1, ("multiply_vector",)),
        (1, 4, (19, 23), 6, (3, 5), 1, 3, 2, ()),
        (1, 6, (16, 50), 8, (2, 2), 2, 0, 1, ("add_vector",)),
        (1, 3, (30, 41), 5, (7, 7), 2, 3, 1, ()),
    ],
)
def test_convolution(
    batch: int,
    channels: int,
    size: tuple[int, int],
    features: int,
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int,
    steps: tuple[str, ...],
) -> None:
    spec = ConvolutionSpec(
        batch, channels, *size, features, kernel, (stride, stride), (padding,) * 4, (dilation, dilation)
    )
    x, weight = random(0, batch, channels, *size), random(1, features, channels, *kernel)
    bias, other = random(2, features), random(3, batch, features, spec.pixels)

    def reference(dtype: Any) -> Any:
        tensor = lambda array: torch.from_numpy(array).to(dtype)  # noqa: E731
        value = functional.conv2d(tensor(x), tensor(weight), stride=stride, padding=padding, dilation=dilation)
        for step in steps:
            value = {
                "add_vector": lambda v: v + tensor(bias)[:, None, None],
                "multiply_vector": lambda v: v * tensor(bias)[:, None, None],
                "add_tensor": lambda v: v + tensor(other).reshape(v.shape),
                "relu": torch.relu,
                "gelu": functional.gelu,
            }[step](value)
        return value.numpy()

    packed = kernels.pack_convolution(weight, IN_FLOAT32)
    np.testing.assert_array_equal(
        run(kernels.pack_convolution_func(features, channels, kernel, IN_FLOAT32), [weight], packed.shape), packed
    )
    operands = [bias if step.endswith("vector") else other for step in steps if "_" in step]
    ours = run(
        kernels.convolution_func(spec, IN_FLOAT32, steps), [x, packed, *operands], (batch, features, spec.pixels)
    )
    exact = reference(torch.float64)
    assert exact.shape[2:] == (spec.out_height, spec.out_width)
    assert_as_exact(ours.reshape(exact.shape), reference(torch.float32), exact, ratio=3.0)


@pytest.mark.parametrize(
    ("batch", "channels", "size", "features", "kernel", "steps"),
    [
        (1, 1, (1, 1), 1, (2, 2), ()),
        (1, 8, (5, 7), 3, (2, 2), ("add_vector",)),
        (2, 16, (8, 8), 12, (2, 2), ("add_vector", "gelu")),
        (1, 300, (6, 11), 5, (2, 2), ()),
        (1, 5, (9, 16), 4, (3, 4), ("multiply_vector", "relu")),
        (1, 7, (3, 72), 5, (2, 2), ("add_vector", "add_tensor", "gelu")),
        (2, 130, (2, 24), 3, (2, 2), ("add_vector", "relu", "multiply_tensor")),
        (1, 9, (5, 48), 11, (1, 2), ("add_tensor",)),
        (1, 4, (4, 16), 3, (2, 1), ("add_vector", "add_tensor")),
        (1, 6, (3, 32), 2, (2, 3), ("add_vector", "sigmoid", "add_tensor")),
        (1, 3, (3, 5), 4, (2, 2), ("add_tensor", "gelu")),
        (1, 3, (2, 16), 2, (1, 5), ("add_vector", "add_tensor")),
    ],
)
def test_transposed_convolution(
    batch: int, channels: int, size: tuple[int, int], features: int, kernel: tuple[int, int], steps: tuple[str, ...]
) -> None:
    x, weight, bias = random(0, batch, channels, *size), random(1, channels, features, *kernel), random(2, features)
    residual = random(3, batch, features, size[0] * kernel[0], size[1] * kernel[1])

    def reference(dtype: Any) -> Any:
        tensor = lambda array: torch.from_numpy(array).to(dtype)  # noqa: E731
        value = functional.conv_transpose2d(tensor(x), tensor(weight), stride=kernel)
        for step in steps:
            value = {
                "add_vector": lambda v: v + tensor(bias)[:, None, None],
                "multiply_vector": lambda v: v * tensor(bias)[:, None, None],
                "add_tensor": lambda v: v + tensor(residual),
                "multiply_tensor": lambda v: v * tensor(residual),
                "relu": torch.relu,
                "gelu": functional.gelu,
                "sigmoid": torch.sigmoid,
            }[step](value)
        return value.numpy()

    packed = kernels.pack_transposed(weight, IN_FLOAT32)
    np.testing.assert_array_equal(
        run(kernels.pack_transposed_func(channels, features, kernel, IN_FLOAT32), [weight], packed.shape), packed
    )
    function = transposed_convolution_func(batch, channels, size, features, kernel, IN_FLOAT32, steps)
    operands = [residual if step.endswith("tensor") else bias for step in steps if "_" in step]
    exact = reference(torch.float64)
    ours = run(function, [x.reshape(batch, channels, -1), packed, *operands], exact.shape)
    assert_as_exact(ours, reference(torch.float32), exact, ratio=3.0)
