"""Products of two tensors: the values, and what the kernels are told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from tests.compiler.importing.conftest import CONVERTERS, Function

DRAW = torch.Generator().manual_seed(0)
X, W = (torch.randn(shape, generator=DRAW) for shape in ((2, 5, 7), (7, 3)))


def script_of(function: Callable[..., Any], *operands: torch.Tensor) -> str:
    program = export_module(Function(function), {f"x{i}": operand.numpy() for i, operand in enumerate(operands)})
    return str(importing.import_program(program, CONVERTERS).module.script())


@pytest.mark.parametrize("shapes", [((2, 5, 7), (7, 3)), ((2, 1, 5, 7), (4, 7, 3)), ((7,), (7, 3)), ((5, 7), (7,))])
def test_products_with_all_kinds_of_axes(agrees: Callable[..., None], shapes: tuple[tuple[int, ...], ...]) -> None:
    agrees(torch.matmul, *(torch.randn(shape, generator=DRAW) for shape in shapes))


def test_an_einsum_of_masks(agrees: Callable[..., None]) -> None:
    """As the segmentation head multiplies queries with pixels (maskformer_segmentation.py, line 36)."""
    agrees(lambda q, p: torch.einsum("bqc,bchw->bqhw", q, p), X, torch.randn(2, 7, 4, 3, generator=DRAW))


def test_a_batched_product_copies_nothing() -> None:
    script = script_of(torch.matmul, X, W)
    assert script.count("R.matmul(") == 1
    assert "R.broadcast_to(" not in script


@pytest.mark.parametrize(
    ("function", "operands"),
    [
        (torch.matmul, (X, W)),
        (torch.bmm, (X, X.transpose(1, 2).contiguous())),
        (lambda q, p: torch.einsum("bqc,bchw->bqhw", q, p), (X, torch.randn(2, 7, 4, 3, generator=DRAW))),
    ],
    ids=["matmul", "bmm", "einsum"],
)
def test_nothing_but_upstream_asks_for_float32(
    function: Callable[..., Any], operands: tuple[torch.Tensor, ...]
) -> None:
    """``out_dtype`` keeps a bfloat16 build from rounding, see `float32_regions`."""
    script = script_of(function, *operands)
    assert script.count("R.matmul(") == 1
    assert 'out_dtype="float32"' not in script
