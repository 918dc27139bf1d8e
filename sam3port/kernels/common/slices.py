"""One index of an axis, and one part of what a single layer computed for queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Shape, Var
from sam3port.kernels.common.heads import Layout, Part, grouped, real_axes


@dataclass(frozen=True, slots=True)
class Index:
    """``source[..., index, ...]``, with the axis kept."""

    source: Expr
    """The tensor that the slice was taken from."""
    axis: int
    """The axis that has one index left."""
    index: int
    """Which index of it that is."""


def index_of(graph: Graph, expr: Expr) -> Index | None:
    """What `expr` is one index of an axis of, if a slice took it from there."""
    call = graph.call(expr, "relax.strided_slice")
    if call is None or len(call.args) < 4:
        return None
    axes, begins, ends, *strides = (ints_of(argument) for argument in call.args[1:5])
    shape = g.shape_of(call.args[0])
    if shape is None or axes is None or begins is None or ends is None or strides not in ([], [[1]]):
        return None
    if len(axes) != 1 or begins[0] < 0 or ends[0] != begins[0] + 1:
        return None
    axis = axes[0] % len(shape)
    if not isinstance(shape[axis], int) or ends[0] > shape[axis]:
        return None
    return Index(call.args[0], axis, begins[0])


def part_of(graph: Graph, expr: Expr, layout: Layout, shape: Shape) -> tuple[Expr, Part, Var] | None:
    """Of which tensor [B, L, n * H, D] `expr` is the i-th part, (i, n), and the transpose that its reader bypasses.

    Upstream's ViT (sam3/model/vitdet.py:520-524) and PyTorch's multi-head attention have one layer for the three of
    them, put the three first, and take one after the other.

    Args:
        layout: of `expr`: how its `shape` is to be read.
    """
    if not g.ints(shape):
        return None
    batch, length, heads, features = shape if layout == "BLHD" else (shape[0], shape[2], shape[1], shape[3])
    taken = index_of(graph, behind_views(graph, expr))
    if taken is None or taken.axis != 0:
        return None
    inner = behind_views(graph, taken.source)
    turned = graph.call(inner, "relax.permute_dims")
    count = (g.shape_of(taken.source) or (0,))[0]
    if turned is None or not g.ints([count]):
        return None
    if layout == "BHLD":
        groups = grouped(g.shape_of(turned.args[0]), (batch, length, count, heads, features))
        wanted = None if groups is None else [*groups[2], *groups[0], *groups[3], *groups[1], *groups[4]]
    else:
        groups = grouped(g.shape_of(turned.args[0]), (batch, length, count, heads * features))
        wanted = None if groups is None else [*groups[2], *groups[0], *groups[1], *groups[3]]
    if wanted != real_axes(turned) or count < 2:
        return None
    return turned.args[0], (taken.index, count), graph.origin(inner)


def behind_views(graph: Graph, expr: Expr) -> Expr:
    """What `expr` is another shape of."""
    return graph.behind(expr, "relax.reshape", "relax.squeeze", "relax.expand_dims")


def ints_of(argument: Any) -> list[int] | None:
    """The values of a tuple of constants, None if there are others in it."""
    values = list(argument) if not hasattr(argument, "fields") else list(argument.fields)
    if not all(isinstance(value, tirx.IntImm) for value in values):
        return None
    return [int(value.value) for value in values]
