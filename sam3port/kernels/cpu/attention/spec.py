"""Shapes and meaning of an attention, and the order in which its operands' axes lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sam3port.kernels.common.heads import Layout, Part
from sam3port.kernels.cpu.codegen.emit import Dim, Expr


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """Shapes and meaning of one attention kernel. Lengths and batch may be symbolic (int64)."""

    batch: Dim
    """Items of the batch; may be symbolic."""
    heads: int
    """Heads of an item."""
    queries: Dim
    """Queries of a head; may be symbolic."""
    keys: Dim
    """Keys of a head, and as many values; may be symbolic."""
    features: int
    """Features of a query, and of a key."""
    value_features: int
    """Features of a value, and of a result."""
    scale: float
    """What products of queries and keys are multiplied with."""
    layouts: tuple[Layout, Layout, Layout, Layout] = ("BHLD", "BHLD", "BHLD", "BHLD")
    """The orders of axes of q, k, v and the output."""
    parts: tuple[Part, Part, Part] = ((0, 1), (0, 1), (0, 1))
    """Which part of its tensor each of q, k and v is: where one layer computes them all, its result is read where it
    lies. A tensor of n parts has n times `heads` heads."""
    rotary: bool = False
    """Whether queries and keys, as many of one as of the other, are rotated as they are read, see `rotary`."""
    bias: tuple[Dim, Dim, Dim, Dim] | None = None
    """Shape of an additive bias, [batch or 1, heads or 1, queries or 1, keys]."""
    causal_offset: int | None = None
    """Query i sees keys up to ``i + causal_offset``; None: all."""
    empty_rows: Literal["zero", "nan"] = "zero"
    """Result of a row whose scores are all -inf. PyTorch's scaled_dot_product_attention gives zero, and
    ``softmax(scores) @ v`` gives NaN."""


def operand_shapes(spec: AttentionSpec) -> tuple[list[Dim], list[Dim], list[Dim]]:
    """Of the tensors that q, k and v are in."""
    lengths = (spec.queries, spec.keys, spec.keys)
    features = (spec.features, spec.features, spec.value_features)
    q, k, v = (
        at(layout, spec.batch, spec.heads * count, length, each)
        for layout, (_, count), length, each in zip(spec.layouts, spec.parts, lengths, features, strict=False)
    )
    return q, k, v


def at(layout: Layout, batch: Expr, head: Expr, row: Expr, feature: Expr) -> list[Expr]:
    """In the order of a layout: indices, or how many there are of each."""
    return [batch, head, row, feature] if layout == "BHLD" else [batch, row, head, feature]
