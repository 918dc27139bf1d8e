"""Products stay recognisable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import linear

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from tests.compiler.importing.conftest import CONVERTERS, Function

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(2, 5, 7, generator=DRAW)
WEIGHT = torch.randn(3, 7, generator=DRAW)
BIAS = torch.randn(3, generator=DRAW)


@pytest.mark.parametrize("x", [X, X[0], X[0, 0], X[None]])
def test_with_and_without_a_bias(agrees: Callable[..., None], x: torch.Tensor) -> None:
    agrees(lambda x, w, b: (linear(x, w, b), linear(x, w)), x, WEIGHT, BIAS)


def test_a_layer_is_one_product() -> None:
    program = export_module(Function(linear), {"x": X.numpy(), "w": WEIGHT.numpy(), "b": BIAS.numpy()})
    script = importing.import_program(program, CONVERTERS).module.script()
    assert script.count("R.matmul(") == 1
    assert "R.reshape(" not in script
