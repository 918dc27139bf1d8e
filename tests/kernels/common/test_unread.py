"""Nothing is computed for an index that nobody takes; where another one is read, nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor
from torch.nn import functional
from tvm import relax

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from sam3port.compiler.importing.decompose import decompose
from sam3port.kernels.common.unread import leave_out_unread
from sam3port.kernels.cpu.pipeline import optimise
from tests.compiled import compiled
from tests.compiler.importing.conftest import CONVERTERS, Function
from tests.kernels.running import HOST

LAYERS, ROWS, WIDTH = 6, 5, 8
Answer = Callable[..., Any]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, FIRST, SECOND = draw(LAYERS, ROWS, WIDTH), draw(WIDTH, WIDTH, seed=1), draw(4, WIDTH, seed=2)
MATRICES, MATRIX = draw(LAYERS, WIDTH, 3), draw(1, WIDTH, 3)
FACTORS, FACTOR = draw(LAYERS, 1, 1), draw(1, ROWS, 1)


def first(x: Tensor) -> Tensor:
    return functional.linear(x, FIRST, FIRST[0])


def head(x: Tensor) -> Tensor:
    return functional.linear(torch.relu(first(x)), SECOND)


def imported(function: Answer, *given: Tensor) -> tvm.IRModule:
    """With all that is constant in `function` bound, as if it were known when the kernels are chosen."""
    program = export_module(Function(function), {f"x{i}": one.numpy() for i, one in enumerate(given)})
    decomposed = decompose(program, CONVERTERS)
    constants = importing.weights(decomposed)
    made = importing.import_decomposed(decomposed, CONVERTERS)
    parameters = made.module["main"].params[len(given) :]
    bound = {one: constants[name].numpy() for one, name in zip(parameters, made.parameters, strict=True)}
    return relax.transform.BindParams("main", bound)(made.module)


def agrees(mod: tvm.IRModule, function: Answer, *given: Tensor) -> None:
    run = relax.VirtualMachine(compiled(optimise(mod, HOST, lift_parameters=False), HOST), tvm.cpu())
    ours = run["main"](*(tvm.runtime.tensor(one.numpy()) for one in given))
    theirs = Function(function)(*given)
    assert len(ours) == len(theirs)
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-5, atol=1e-5)


def rows_of_products(mod: tvm.IRModule) -> list[int]:
    """Length of axis 0 of every product's result."""
    values = [binding.value for block in mod["main"].body.blocks for binding in block.bindings]
    products = [each for each in values if getattr(getattr(each, "op", None), "name", "") == "relax.matmul"]
    return [int(each.ty.shape.values[0]) for each in products]


def narrowed(mod: tvm.IRModule) -> list[int]:
    made = leave_out_unread()(mod)
    relax.analysis.well_formed(made)
    return rows_of_products(made)


def boxes(x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """As upstream's `_update_scores_and_boxes` (sam3_image.py:302)."""
    reference = reference.clamp(0, 1)
    found = (torch.log(reference.clamp(min=1e-3) / (1 - reference).clamp(min=1e-3)) + head(x)).sigmoid()
    x0, y0, width, height = found.unbind(-1)
    corners = torch.stack([x0 - 0.5 * width, y0 - 0.5 * height, x0 + 0.5 * width, y0 + 0.5 * height], dim=-1)
    return found[-1], corners[-1]


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: head(x)[-1], id="the last"),
        pytest.param(lambda x: head(x)[2:3], id="one, its axis kept"),
        pytest.param(lambda x: (first(x)[4], head(x)[4] - 1), id="the same one twice"),
        pytest.param(lambda x: functional.layer_norm(x + first(x), (WIDTH,))[3], id="norm and residual"),
        pytest.param(lambda x: torch.softmax(first(x).unsqueeze(1), -1)[0], id="softmax"),
        pytest.param(lambda x: torch.cat([first(x), x], -1)[4], id="beside another"),
        pytest.param(lambda x: torch.matmul(first(x), MATRICES)[5], id="one matrix each"),
        pytest.param(lambda x: torch.matmul(first(x), MATRIX)[5], id="one matrix for all"),
        pytest.param(lambda x: (first(x) * FACTOR + FIRST[1])[1], id="one factor for all"),
        pytest.param(lambda x: (first(x) * FACTORS)[1], id="one factor each"),
    ],
)
def test_one_of_six_is_computed(function: Answer) -> None:
    mod = imported(function, X)
    assert set(rows_of_products(mod)) == {LAYERS}
    assert set(narrowed(mod)) == {1}
    agrees(mod, function, X)


def test_upstreams_boxes() -> None:
    given = draw(LAYERS, 1, ROWS, WIDTH), draw(LAYERS, 1, ROWS, 4, seed=1)
    mod = imported(boxes, *given)
    assert set(narrowed(mod)) == {1}
    agrees(mod, boxes, *given)


def test_what_is_no_number_elsewhere_does_not_matter() -> None:
    x = X.clone()
    x[:5] = torch.nan
    agrees(imported(lambda x: head(x)[-1], x), lambda x: head(x)[-1], x)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(head, id="all"),
        pytest.param(lambda x: ((y := first(x))[-1], y[0]), id="two"),
        pytest.param(lambda x: first(x)[-2:], id="a range"),
        pytest.param(lambda x: first(x)[:, 0], id="of another axis"),
        pytest.param(lambda x: ((y := first(x))[-1], y.sum()), id="one, and the sum"),
        pytest.param(lambda x: torch.softmax(first(x), 0)[-1], id="softmax over layers"),
        pytest.param(lambda x: torch.cat([first(x), x])[-1], id="one after the other"),
        pytest.param(lambda x: torch.matmul(first(x).transpose(0, 1), MATRIX[0])[-1], id="axes that change places"),
    ],
)
def test_where_more_is_read_all_is_computed(function: Answer) -> None:
    mod = imported(function, X)
    assert LAYERS in narrowed(mod)
    agrees(mod, function, X)


def test_a_matrixs_rows_are_its_products_rows() -> None:
    """And its columns are not: the right operand is needed whole."""

    def function(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return torch.matmul(x, w.relu())[2], torch.matmul(w.sigmoid(), x)[2]

    given = draw(LAYERS, LAYERS), draw(LAYERS, LAYERS, seed=1)
    mod = imported(function, *given)
    assert narrowed(mod) == [1, 1]
    agrees(mod, function, *given)


def test_a_tuple_that_has_a_name() -> None:
    """As another importer may hand parts on: not taken apart, and no reason to fail."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((LAYERS, WIDTH), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            parts = builder.emit(relax.op.split(relax.op.sigmoid(x), 2, 1))
            beside = builder.emit(relax.op.concat(parts, 1))
            taken = builder.emit_output(relax.op.strided_slice(beside, [0], [2], [3]))
        builder.emit_func_output(taken)
    mod = builder.get()
    tvm.ir.assert_structural_equal(leave_out_unread()(mod), mod)


@pytest.mark.parametrize("x", [draw(LAYERS, LAYERS), draw(LAYERS, LAYERS, LAYERS)], ids=["matrix", "matrices"])
@pytest.mark.parametrize("computed", [False, True])
def test_an_operand_times_itself(x: Tensor, computed: bool) -> None:
    def function(x: Tensor) -> Tensor:
        left = x.sigmoid() if computed else x
        return (torch.matmul(left, left) + left)[2]

    mod = imported(function, x)
    assert narrowed(mod) == [1]
    agrees(mod, function, x)
