"""Products with a few columns, against PyTorch in float64; and where they take the place of tiles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx
from tvm.relax import op

from sam3port.kernels.cpu.dispatch import dispatch
from sam3port.kernels.cpu.products import few_columns
from tests.kernels.cpu.test_dispatch import called, check, transposed
from tests.kernels.running import CPU, HOST, assert_as_exact, random, run

torch = pytest.importorskip("torch")


def agrees(batch: int, m: int, n: int, k: int) -> None:
    x, columns = random(0, batch, m, k), random(1, batch, n, k)
    ours = run(few_columns.few_columns_func(batch, m, n, k, CPU), [x, columns], (batch, m, n))
    tensors = [torch.from_numpy(each) for each in (x, columns)]
    theirs, exact = (torch.einsum("bmk,bnk->bmn", *(t.to(d) for t in tensors)) for d in (torch.float32, torch.float64))
    assert_as_exact(ours, theirs.numpy(), exact.numpy(), terms=float(np.sqrt(k)) * 3)


@pytest.mark.parametrize("sizes", [(6, 200, 1, 256), (1, 1200, 4, 256), (1, 1, 1, 1), (3, 7, 2, 1031), (1, 5, 3, 64)])
def test_sizes(sizes: tuple[int, int, int, int]) -> None:
    agrees(*sizes)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.integers(1, 50), st.integers(1, 4), st.integers(1, 300))
def test_any_size(batch: int, m: int, n: int, k: int) -> None:
    agrees(batch, m, n, k)


def test_rows_known_only_at_run_time() -> None:
    function = few_columns.few_columns_func(1, tirx.Var("m", "int64"), 2, 96, CPU)
    x, columns = random(0, 1, 37, 96), random(1, 1, 2, 96)
    ours = run(function, [x, columns], (1, 37, 2))
    np.testing.assert_allclose(ours[0], x[0].astype(np.float64) @ columns[0].T, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "k", "found"),
    [(1, 256, True), (4, 256, True), (5, 256, False), (1, 8, False), (1, tirx.Var("k", "int64"), False)],
)  # fmt: skip
def test_where_it_fits(n: int, k: Any, found: bool) -> None:
    assert few_columns.fits(n, k, CPU) is found
    assert not few_columns.fits(n, k, replace(CPU, lanes=1))


@pytest.mark.parametrize("turned", [True, False], ids=["[N, K]", "[K, N]"])
def test_a_layer_with_what_follows(turned: bool) -> None:
    def build(emit: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
        product = emit(op.add(emit(op.matmul(x, transposed(emit, w) if turned else w)), b))
        return emit(op.sigmoid(emit(op.add(product, y))))

    def reference(x: Any, y: Any, w: Any, b: Any) -> Any:
        return torch.sigmoid(x @ (w.T if turned else w) + b + y)

    mod = check([(2, 9, 256), (2, 9, 4)], [(4, 256) if turned else (256, 4), (4,)], build, reference)
    assert called(mod) == ["linear_add_vector_add_tensor_sigmoid"]


def test_a_product_with_one_column_for_each_item() -> None:
    mod = check([(3, 9, 128), (3, 128, 1)], [], lambda emit, x, y: emit(op.matmul(x, y)), lambda x, y: x @ y)
    assert "dot products" in schedule_of(mod)


def test_columns_that_do_not_lie_as_rows_are_multiplied_as_ever() -> None:
    mod = check([(3, 9, 128), (3, 128, 2)], [], lambda emit, x, y: emit(op.matmul(x, y)), lambda x, y: x @ y)
    assert "dot products" not in schedule_of(mod)


def test_columns_behind_a_transpose() -> None:
    def build(emit: Any, x: Any, y: Any) -> Any:
        return emit(op.matmul(x, emit(op.permute_dims(y, [0, 2, 1]))))

    mod = check([(3, 9, 128), (3, 2, 128)], [], build, lambda x, y: x @ y.transpose(1, 2))
    assert "dot products" in schedule_of(mod)


def test_rows_that_move_are_multiplied_as_ever() -> None:
    """A layer that reads its rows in another order: tiles do that, dot products do not."""

    def build(emit: Any, x: Any, w: Any) -> Any:
        moved = emit(op.reshape(emit(op.permute_dims(x, [1, 0, 2])), (15, 256)))
        return emit(op.matmul(moved, transposed(emit, w)))

    check([(3, 5, 256)], [(2, 256)], build, lambda x, w: x.permute(1, 0, 2).reshape(15, 256) @ w.T)


def schedule_of(mod: Any) -> str:
    (function,) = (each for name, each in dispatch(HOST)(mod).functions_items() if name.name_hint == "batched_matmul")
    return str(function.attrs["sam3port.schedule"])
