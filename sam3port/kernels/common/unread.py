"""Leaves out what nobody reads: where one index of the leading axis is taken in the end, only that one is computed.

Upstream computes boxes and scores from the queries of all six decoder layers and takes the last layer's in inference
(`Sam3Image._update_scores_and_boxes`, sam3/model/sam3_image.py:302).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import tvm
from tvm import relax
from tvm.ir import Op

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Emit, Expr, Graph, Var
from sam3port.kernels.common.rewriting import rewritten
from sam3port.kernels.common.slices import index_of, ints_of

_ELEMENTWISE: Final = {
    f"relax.{name}"
    for name in (
        *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "clip", "astype"),
        *("abs", "exp", "log", "negative", "sigmoid", "sqrt", "rsqrt", "tanh"),
        *("nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu"),
    )
}

_APART: Final[Mapping[str, Callable[[Any], Sequence[Any] | None]]] = {
    "relax.strided_slice": lambda call: ints_of(call.args[1]),
    "relax.squeeze": lambda call: call.attrs.axis,
    "relax.expand_dims": lambda call: call.attrs.axis,
    "relax.concat": lambda call: [call.attrs.axis],
    "relax.nn.layer_norm": lambda call: call.attrs.axes,
    "relax.nn.softmax": lambda call: [call.attrs.axis],
}
"""Operators that mix, add or take away these axes only, of their first argument; None: it is not said which."""


def leave_out_unread() -> tvm.transform.Pass:
    """A module pass: slices of one index of axis 0 move in front of the operators that keep this axis apart.

    What is computed for that index stays the same. Where different indices are read, or all of them, nothing changes.
    """

    def transform(mod: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        return rewritten(mod, _values)

    return tvm.transform.module_pass(transform, opt_level=0, name="sam3port.cpu.leave_out_unread")


def _values(function: relax.Function) -> dict[Var, Emit]:
    graph = Graph(function)
    found = _read_alone(graph)
    values = {var: _narrowed(graph.definition(var), index, found) for var, index in found.items()}
    for var, _ in graph.bindings:
        taken = index_of(graph, var)
        if taken is not None and taken.axis == 0 and taken.source in found:
            values[var] = _taken(taken.source)
    return values


def _read_alone(graph: Graph) -> dict[Var, int]:
    """The index of axis 0 that is all that is read of a variable which can be computed for it alone."""
    found: dict[Var, int] = {}
    for var, value in reversed(graph.bindings):
        if not any(_follows(value)):
            continue
        indices = {_index_read(graph, user, var, found) for user in graph.users(var)}
        index = indices.pop() if len(indices) == 1 else None
        if index is not None:
            found[var] = index
    return found


def _index_read(graph: Graph, user: Var | None, var: Var, found: dict[Var, int]) -> int | None:
    """The one index that `user` reads of `var`, None if it reads others as well."""
    if user is None:
        return None
    taken = index_of(graph, user)
    if taken is not None and taken.axis == 0 and taken.source.same_as(var):
        return taken.index
    if user not in found:
        return None
    call = graph.definition(user)
    places = zip(_operands(call), _follows(call), strict=True)
    return found[user] if all(follows for operand, follows in places if operand.same_as(var)) else None


def _operands(call: Any) -> list[Expr]:
    """The arguments of a call, tuples as their fields."""
    fields = [list(each.fields) if isinstance(each, relax.Tuple) else [each] for each in call.args]
    return [operand for each in fields for operand in each]


def _follows(call: Any) -> list[bool]:
    """For each of its `_operands`: whether index i of its axis 0, and no other, goes into index i of the result's.

    The others are the same for all of them. Empty where index i is made of other indices, too.
    """
    shape = g.shape_of(call)
    if not isinstance(call, relax.Call) or not isinstance(call.op, Op) or not shape:
        return []
    if not isinstance(shape[0], int) or shape[0] < 2:
        return []
    operands, name = _operands(call), call.op.name
    if name in _ELEMENTWISE or name == "relax.matmul":
        whole = [_has_all_of(operand, shape) for operand in operands]
        # Axis 0 of a plain matrix product are rows of the left operand; the right one has as many by chance.
        return [whole[0], False] if name == "relax.matmul" and len(shape) < 3 else whole
    if name not in _APART:
        return []
    axes, first = _APART[name](call), g.shape_of(operands[0])
    if axes is None or first is None:  # a tuple that has a name has no shape
        return []
    # A removed axis is counted in the operand, an added one in the result.
    rank = len(shape) if name == "relax.expand_dims" else len(first)
    if any(int(axis) % rank == 0 for axis in axes):
        return []
    count = len(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else 1
    return [place < count for place in range(len(operands))]


def _has_all_of(operand: Expr, shape: g.Shape) -> bool:
    """Whether an operand has as many axes as the result, and an axis 0 as long."""
    size = g.shape_of(operand)
    return size is not None and len(size) == len(shape) and size[0] == shape[0]


def _narrowed(call: Any, index: int, found: dict[Var, int]) -> Emit:
    """`call` for that index of axis 0 alone, which is of length 1 then."""

    def emit(builder: relax.BlockBuilder, new: Callable[[Expr], Expr]) -> Expr:
        follows = iter(_follows(call))

        def operand(given: Expr) -> Expr:
            if isinstance(given, relax.Tuple):
                return relax.Tuple([operand(field) for field in given.fields])
            if not next(follows) or given in found:
                return new(given)
            return builder.emit(relax.op.strided_slice(new(given), [0], [index], [index + 1]))

        return relax.Call(call.op, [operand(each) for each in call.args], call.attrs, call.ty_args)

    return emit


def _taken(source: Var) -> Emit:
    """A slice of the one index of what has no other by now."""
    return lambda _builder, new: new(source)
