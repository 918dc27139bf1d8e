"""Concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

F = torch.arange(6, dtype=torch.float32).reshape(2, 3)
I = F.long() + 10  # noqa: E741
B = F > 2


def test_along_each_axis(agrees: Callable[..., None]) -> None:
    agrees(lambda a, b: (torch.cat([a, b], 0), torch.cat([a, b, a], 1), torch.cat([a, b], -1)), F, F + 1)


def test_different_types_become_the_one_that_holds_all(agrees: Callable[..., None]) -> None:
    agrees(lambda f, i, b: (torch.cat([i, f]), torch.cat([b, i]), torch.cat([b, f, i])), F, I, B)


def test_nothing_adds_nothing(agrees: Callable[..., None]) -> None:
    agrees(lambda f: torch.cat([f.new_zeros(2, 0), f], 1), F)
    agrees(lambda f: torch.cat([f.new_zeros(0), f], 1), F)


def test_an_empty_tensor_gives_its_type(agrees: Callable[..., None]) -> None:
    agrees(lambda i: torch.cat([torch.zeros(2, 0), i], 1), I)


def test_tvm_alone_refuses_different_types(without: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="same dtype"):
        without("cat.default", lambda f, i: torch.cat([i, f]), F, I)
