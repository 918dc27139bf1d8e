"""Transposes between [B, L, H, D] and [B, H, L, D] around an attention, which need not be copies: it reads both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Shape, Var

Layout = Literal["BHLD", "BLHD"]
"""The order of an attention operand's axes: batch, heads, length, features of a head."""

Part = tuple[int, int]
"""Which part of so many an operand is: (1, 3) is the second third of a tensor's heads."""


def heads_last_before(graph: Graph, expr: Expr, shape: Shape) -> tuple[Expr, Var] | None:
    """The tensor in the order [B, L, H, D] that was transposed to `expr`, which is seen as [B, H, L, D].

    Args:
        shape: B, H, L, D. Views on the way, and more than one axis for one of these, are seen through.

    Returns:
        The tensor, and the transpose that whoever reads it bypasses.
    """
    batch, heads, length, features = shape
    inner = graph.behind(expr, "relax.reshape")
    turned = graph.call(inner, "relax.permute_dims")
    if turned is None or not g.ints(shape):
        return None
    groups = grouped(g.shape_of(turned.args[0]), (batch, length, heads, features))
    if groups is None:
        return None
    b, sequence, h, d = groups
    if real_axes(turned) != [*b, *h, *sequence, *d]:
        return None
    return turned.args[0], graph.origin(inner)


def heads_last_again(graph: Graph, var: Var, shape: Shape) -> Var | None:
    """The variable that has `var`, seen as [B, H, L, D], in the order [B, L, H, D], when nobody reads another one."""
    if not g.ints(shape):
        return None
    user: Var | None = graph.only_user(var)
    while user is not None:
        if graph.call(user, "relax.reshape") is None and not graph.is_alias(user):
            break
        user = graph.only_user(user)
    turned = graph.call(user, "relax.permute_dims") if user is not None else None
    if turned is None or user in graph.bypassed:
        return None
    groups = grouped(g.shape_of(turned.args[0]), shape)
    if groups is None:
        return None
    b, h, sequence, d = groups
    return user if real_axes(turned) == [*b, *sequence, *h, *d] else None


def real_axes(call: Any) -> list[int]:
    """The axes of a transpose, without those of size one, which may stand anywhere."""
    dims = g.shape_of(call.args[0]) or ()
    return [axis for axis in g.transpose_axes(call) if dims[axis] != 1]


def grouped(dims: Shape | None, sizes: Sequence[int]) -> list[list[int]] | None:
    """Which axes make up each of `sizes`, in order; None if they do not."""
    if dims is None or not g.ints(dims):
        return None
    groups: list[list[int]] = []
    axes = [axis for axis, dim in enumerate(dims) if dim != 1]
    for size in sizes:
        own: list[int] = []
        product = 1
        while product < size and axes:
            own.append(axes.pop(0))
            product *= dims[own[-1]]
        if product != size:
            return None
        groups.append(own)
    return groups if not axes else None
