"""Rotary position encoding of neighbouring pairs, as real arithmetic spells it out (see the patch ``float_rope``)."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import relax

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph
from sam3port.kernels.common.slices import behind_views, index_of


@dataclass(frozen=True, slots=True)
class Rotation:
    """``[..., L, D]`` turned by ``[L, D]``, whose pairs are cos and sin."""

    before: Expr
    """What is rotated, in the shape of the result."""
    table: Expr
    """Of L * D elements, in any shape."""


def rotation_of(graph: Graph, expr: Expr) -> Rotation | None:
    """The rotation whose result `expr` is: ``(a cos - b sin, a sin + b cos)`` for each pair (a, b) of the last axis."""
    shape = g.shape_of(expr)
    joined = graph.call(behind_views(graph, expr), "relax.concat")
    if shape is None or len(shape) < 2 or not g.ints(shape) or joined is None:
        return None
    fields = graph.definition(joined.args[0])
    paired = g.shape_of(joined)
    if not isinstance(fields, relax.Tuple) or len(fields) != 2 or paired != (*shape[:-1], shape[-1] // 2, 2):
        return None
    if int(joined.attrs.axis) not in (-1, len(paired) - 1):
        return None
    even, odd = (behind_views(graph, field) for field in fields)
    if g.shape_of(even) != paired[:-1] or g.shape_of(odd) != paired[:-1]:
        return None
    left, right = _terms(graph, even, "relax.subtract"), _terms(graph, odd, "relax.add")
    if left is None or right is None:
        return None
    # The pairs [a, b] and [cos, sin] in any order; the larger tensor is what is rotated.
    sources = sorted(left[0], key=lambda half: g.product(g.shape_of(half[0]) or (0,)), reverse=True)
    value, table = sources[0][0], sources[1][0]
    real = _same(left[0], (value, 0), (table, 0)) and _same(left[1], (value, 1), (table, 1))
    crossed = [(value, 0), (table, 1)], [(value, 1), (table, 0)]
    imaginary = any(_same(right[0], *one) and _same(right[1], *other) for one, other in (crossed, crossed[::-1]))
    before = graph.call(value, "relax.reshape")
    if not real or not imaginary or before is None or g.shape_of(before.args[0]) != shape:
        return None
    table_shape = g.shape_of(table) or ()
    expected = (shape[-2], shape[-1] // 2, 2)
    if table_shape[-3:] != expected or any(dim != 1 for dim in table_shape[:-3]):
        return None
    return Rotation(before.args[0], graph.origin(behind_views(graph, table)))


_Half = tuple[Expr, int]
"""A tensor whose last axis has two elements, and which of them."""


def _terms(graph: Graph, expr: Expr, operator: str) -> tuple[list[_Half], list[_Half]] | None:
    """The factors of both products of a sum or difference, each of them one half of something."""
    call = graph.call(expr, operator)
    if call is None:
        return None
    terms = []
    for term in call.args:
        factors = graph.call(term, "relax.multiply")
        if factors is None:
            return None
        halves = [_half(graph, factor) for factor in factors.args]
        terms.append([half for half in halves if half is not None])
        if len(terms[-1]) != 2:
            return None
    return terms[0], terms[1]


def _half(graph: Graph, expr: Expr) -> _Half | None:
    taken = index_of(graph, behind_views(graph, expr))
    if taken is None:
        return None
    shape = g.shape_of(taken.source) or ()
    of_pairs = taken.axis == len(shape) - 1 and shape[-1] == 2 and g.shape_of(expr) == shape[:-1]
    return (graph.origin(taken.source), taken.index) if of_pairs else None


def _same(found: list[_Half], *wanted: _Half) -> bool:
    def agree(one: _Half, other: _Half) -> bool:
        return bool(one[0].same_as(other[0])) and one[1] == other[1]

    return any(agree(found[0], a) and agree(found[1], b) for a, b in (wanted, wanted[::-1]))
