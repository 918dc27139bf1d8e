"""Table look-ups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import embedding

from tests.compiler.importing.conftest import CONVERTERS, through_tvm

TABLE = torch.arange(20, dtype=torch.float32).reshape(5, 4)


def test_rows_in_any_shape(agrees: Callable[..., None]) -> None:
    for indices in (torch.tensor(3), torch.tensor([0, 4, 4]), torch.tensor([[1, 0], [2, 3], [4, 4]])):
        agrees(lambda table, i: embedding(i, table), TABLE, indices)


def test_it_stays_inside_the_table() -> None:
    far = torch.tensor([-(2**40), -1, 5, 2**40])
    (found,) = through_tvm(lambda table, i: embedding(i, table), (TABLE, far), CONVERTERS)
    assert np.array_equal(found, TABLE[[0, 0, 4, 4]].numpy())
