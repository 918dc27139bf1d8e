"""Orders of rows against numpy's transpose, and large products that read and write in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3port.kernels.common.row_order import RowOrder, row_order
from sam3port.kernels.cpu.products.gemm import linear_func, pack_weight
from sam3port.kernels.cpu.scheduling.schedules import linear_schedule
from tests.kernels.running import IN_FLOAT32, random, run

DIMS = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(DIMS, st.randoms(use_true_random=False))
def test_a_transpose_of_rows(dims: list[int], chance: object) -> None:
    axes = list(range(len(dims)))
    chance.shuffle(axes)  # type: ignore[attr-defined]
    rows = int(np.prod(dims))
    expected = np.arange(rows).reshape(dims).transpose(axes).reshape(-1)
    order = row_order((*dims, 7), (*axes, len(dims)))
    if order is None:
        np.testing.assert_array_equal(expected, np.arange(rows))
        return
    assert [order.source(row) for row in range(rows)] == list(expected)
    assert [order.inverse.source(order.source(row)) for row in range(rows)] == list(range(rows))


def test_features_stay_last() -> None:
    assert row_order((3, 4, 5), (2, 1, 0)) is None
    assert row_order((3, 1, 5), (1, 0, 2)) is None


@pytest.mark.parametrize(("rows", "halved"), [((2, 3, 4, 5), False), ((6, 14, 3, 5), True)])
def test_products_read_and_write_in_an_order(rows: tuple[int, ...], halved: bool) -> None:
    m, n, k = int(np.prod(rows)), 512, 256
    order = RowOrder(rows, (0, 2, 1, 3))
    assert bool(linear_schedule(m, n, k, IN_FLOAT32).halvings) is halved
    x, weight, residual = random(0, m, k), random(1, n, k), random(2, m, n)
    packed = pack_weight(weight, IN_FLOAT32, linear_schedule(m, n, k, IN_FLOAT32))
    ours = run(
        linear_func(m, n, k, IN_FLOAT32, ("add_tensor",), read=order, written=order), [x, packed, residual], (m, n)
    )
    moved = [order.source(row) for row in range(m)]
    exact = (x.astype(np.float64)[moved] @ weight.T)[moved] + residual
    np.testing.assert_allclose(ours, exact, atol=2e-4)
