"""Indexing with one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

X = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("index", [0, 1, -1, -2])
def test_from_the_start_and_from_the_end(agrees: Callable[..., None], index: int) -> None:
    agrees(lambda x: (x[index], x[:, index], x[..., index]), X)


def test_of_integers_and_booleans(agrees: Callable[..., None]) -> None:
    agrees(lambda x, y: (x[-1], y[:, -1]), X.long(), X > 7)


def test_the_only_axis(agrees: Callable[..., None]) -> None:
    agrees(lambda x: x[-1] + 1, torch.tensor([1.0, 2.0]))


def test_tvm_alone_reads_before_the_start(without: Callable[..., Any]) -> None:
    (found,) = without("select.int", lambda x: x[-1], X.clone())
    assert not np.array_equal(found, X[-1].numpy())
