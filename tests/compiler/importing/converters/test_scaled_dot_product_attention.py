"""Attention, kept whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attend

from sam3port.compiler.errors import UnsupportedOperator
from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from tests.compiler.importing.conftest import CONVERTERS, Function

BATCH, HEADS, QUERIES, KEYS, CHANNELS = 2, 3, 5, 7, 4
DRAW = torch.Generator().manual_seed(0)
Q = torch.randn(BATCH, HEADS, QUERIES, CHANNELS, generator=DRAW)
K = torch.randn(BATCH, HEADS, KEYS, CHANNELS, generator=DRAW)
V = torch.randn(BATCH, HEADS, KEYS, CHANNELS + 1, generator=DRAW)


def test_without_a_mask(agrees: Callable[..., None]) -> None:
    agrees(attend, Q, K, V)


def test_its_own_scale(agrees: Callable[..., None]) -> None:
    agrees(lambda q, k, v: attend(q, k, v, scale=0.3), Q, K, V)


def test_causal(agrees: Callable[..., None]) -> None:
    agrees(lambda q, k, v: attend(q, k, v, is_causal=True), Q, Q, V[:, :, :QUERIES])


@pytest.mark.parametrize(
    "shape", [(QUERIES, KEYS), (BATCH, 1, 1, KEYS), (BATCH, HEADS, QUERIES, KEYS), (1, HEADS, QUERIES, KEYS)]
)
def test_a_boolean_mask_says_who_may_look_where(agrees: Callable[..., None], shape: tuple[int, ...]) -> None:
    mask = torch.rand(shape, generator=DRAW) > 0.4
    mask[..., 0] = True
    agrees(lambda q, k, v, m: attend(q, k, v, m), Q, K, V, mask)


def test_a_query_that_may_look_at_nothing_gets_zeros(agrees: Callable[..., None]) -> None:
    mask = torch.ones(BATCH, 1, QUERIES, KEYS, dtype=torch.bool)
    mask[0, 0, 2] = False
    assert torch.equal(attend(Q, K, V, mask)[0, :, 2], torch.zeros(HEADS, CHANNELS + 1))
    agrees(lambda q, k, v, m: attend(q, k, v, m), Q, K, V, mask)


def test_a_float_mask_is_added(agrees: Callable[..., None]) -> None:
    agrees(lambda q, k, v, m: attend(q, k, v, m), Q, K, V, torch.randn(QUERIES, KEYS, generator=DRAW))


def test_a_float_mask_with_minus_infinity(agrees: Callable[..., None]) -> None:
    mask = torch.zeros(QUERIES, KEYS).masked_fill(torch.rand(QUERIES, KEYS, generator=DRAW) > 0.6, -torch.inf)
    mask[:, 3] = 0
    agrees(lambda q, k, v, m: attend(q, k, v, m), Q, K, V, mask)


def test_it_stays_one_operator() -> None:
    program = export_module(Function(attend), {"q": Q.numpy(), "k": K.numpy(), "v": V.numpy()})
    script = importing.import_program(program, CONVERTERS).module.script()
    assert script.count("R.nn.attention(") == 1
    assert "softmax" not in script


def test_tvm_alone_spells_it_out() -> None:
    others = {name: made for name, made in CONVERTERS.items() if name != "scaled_dot_product_attention.default"}
    program = export_module(Function(attend), {"q": Q.numpy(), "k": K.numpy(), "v": V.numpy()})
    assert "softmax" in importing.import_program(program, others).module.script()


def in_float32(*operands: torch.Tensor, **settings: Any) -> torch.Tensor:
    """As upstream may ask for it: there the products are written out."""
    with torch.autocast(operands[0].device.type, enabled=False):
        return attend(*operands, **settings)


@pytest.mark.parametrize("settings", [{}, {"scale": 0.3}, {"scale": 0.0}, {"is_causal": True}], ids=str)
def test_where_autocast_is_switched_off(agrees: Callable[..., None], settings: dict[str, Any]) -> None:
    agrees(lambda q, k, v: in_float32(q, k, v, **settings), Q, K, V)


def test_a_scale_of_zero_is_not_none_given(agrees: Callable[..., None]) -> None:
    agrees(lambda q, k, v: attend(q, k, v, scale=0.0), Q, K, V)


def test_other_axes_are_refused(agrees: Callable[..., None]) -> None:
    with pytest.raises(UnsupportedOperator, match="3 axes"):
        agrees(attend, Q[0], K[0], V[0])
