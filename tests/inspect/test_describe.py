"""The work and the weights of a component are counted rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from sam3port.compiler.export import export_module
from sam3port.inspect.describe import count_flops, used_weights
from tests.compiler.importing.conftest import Function


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def work(function: Any, *arrays: np.ndarray) -> int:
    return count_flops(export_module(Function(function), {f"input_{i}": array for i, array in enumerate(arrays)}))


def test_a_product() -> None:
    assert work(torch.matmul, zeros(3, 5, 7), zeros(7, 11)) == 2 * 3 * 5 * 7 * 11


def test_a_layer_with_a_bias() -> None:
    assert work(torch.nn.functional.linear, zeros(5, 7), zeros(11, 7), zeros(11)) == 2 * 5 * 7 * 11


def test_attention() -> None:
    heads, queries, keys, channels = 2, 3, 5, 7
    q, k = zeros(1, heads, queries, channels), zeros(1, heads, keys, channels)
    assert work(scaled_dot_product_attention, q, k, k) == 2 * (2 * heads * queries * keys * channels)


def test_a_convolution() -> None:
    assert work(torch.nn.functional.conv2d, zeros(1, 3, 8, 8), zeros(5, 3, 3, 3)) == 2 * 36 * 27 * 5


def test_what_only_moves_data_is_no_work() -> None:
    assert work(lambda x: x.permute(1, 0).reshape(-1) + 1, zeros(3, 5)) == 0


class Layers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = torch.nn.Linear(3, 5)
        self.unused = torch.nn.Linear(100, 100)
        self.register_buffer("table", torch.ones(7, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.used(x), self.table + 1


def test_weights_that_are_used_count_and_others_do_not() -> None:
    found = used_weights(export_module(Layers(), {"x": zeros(2, 3)}))
    assert {name: tensor.numel() for name, tensor in found.items()} == {"used.weight": 15, "used.bias": 5, "table": 7}
