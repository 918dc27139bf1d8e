"""Products stay recognisable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import linear

from sam3port.port import relax as importing
from sam3port.port.export import export_module
from tests.port.conftest import CONVERTERS, Function

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(2, 5, 7, generator=DRAW)
WEIGHT = torch.randn(3, 7, generator=DRAW)
BIAS = torch.randn(3, generator=DRAW)


@pytest.mark.parametrize("x", [X, X[0], X[0, 0], X[None]])
def test_with_and_without_a_bias(agrees: Callable[..., None], x: torch.Tensor) -> None:
    agrees(lambda x, w, b: (linear(x, w, b), linear(x, w)), x, WEIGHT, BIAS)


@pytest.mark.parametrize("shapes", [((2, 5, 7), (7, 3)), ((2, 1, 5, 7), (4, 7, 3)), ((7,), (7, 3)), ((5, 7), (7,))])
def test_products_with_all_kinds_of_axes(agrees: Callable[..., None], shapes: tuple[tuple[int, ...], ...]) -> None:
    agrees(torch.matmul, *(torch.randn(shape, generator=DRAW) for shape in shapes))


def test_a_layer_is_one_product() -> None:
    program = export_module(Function(linear), {"x": X.numpy(), "w": WEIGHT.numpy(), "b": BIAS.numpy()})
    script = importing.import_program(program, CONVERTERS).module.script()
    assert script.count("R.matmul(") == 1
    assert "R.reshape(" not in script


def test_a_batched_product_copies_nothing() -> None:
    program = export_module(Function(torch.matmul), {"x": X.numpy(), "y": WEIGHT.T.contiguous().numpy()})
    script = importing.import_program(program, CONVERTERS).module.script()
    assert script.count("R.matmul(") == 1
    assert "R.broadcast_to(" not in script
