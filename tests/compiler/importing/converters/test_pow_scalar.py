"""Powers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from tests.compiler.importing.conftest import CONVERTERS, Function

X = torch.tensor([-2.5, -1.0, 0.0, 0.3, 4.0, 1e20])


@pytest.mark.parametrize("exponent", [1, 2, 2.0, 3, 0.5, -1, 0])
def test_all_exponents(agrees: Callable[..., None], exponent: float) -> None:
    agrees(lambda x: x**exponent, X.abs() + 0.1)


def test_squares_of_negative_numbers(agrees: Callable[..., None]) -> None:
    agrees(lambda x: (x**2, x**3), X)


def test_squares_are_products() -> None:
    program = export_module(Function(lambda x: x**2), {"x": X.numpy()})
    assert "R.power" not in importing.import_program(program, CONVERTERS).module.script()
