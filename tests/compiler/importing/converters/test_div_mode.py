"""Division that rounds down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sam3port.compiler.errors import UnsupportedOperator

X = torch.tensor([-3.0, -0.5, 0.0, 0.7, 5.0, 1e9, torch.inf, -torch.inf])


@pytest.mark.parametrize("divisor", [2, -2, 0.5, 4.0])
def test_rounds_towards_minus_infinity(agrees: Callable[..., None], divisor: float) -> None:
    agrees(lambda x: torch.div(x, divisor, rounding_mode="floor"), X[:6])


def test_without_rounding(agrees: Callable[..., None]) -> None:
    agrees(lambda x: torch.div(x, 3, rounding_mode=None), X)


def test_what_would_round_differently_is_refused(agrees: Callable[..., None]) -> None:
    assert torch.div(torch.tensor(0.9), 0.1, rounding_mode="floor") == 8
    with pytest.raises(UnsupportedOperator, match="not exact"):
        agrees(lambda x: torch.div(x, 0.1, rounding_mode="floor"), X)
    with pytest.raises(UnsupportedOperator, match="trunc"):
        agrees(lambda x: torch.div(x, 2, rounding_mode="trunc"), X)
    with pytest.raises(UnsupportedOperator, match="int64"):
        agrees(lambda x: torch.div(x, 2, rounding_mode="floor"), torch.tensor([3]))


def test_tvm_alone_refuses_a_whole_divisor(without: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="same datatype"):
        without("div.Tensor_mode", lambda x: torch.div(x, 2, rounding_mode="floor"), X)
