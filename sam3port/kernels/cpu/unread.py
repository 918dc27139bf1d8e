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
from tvm.relax.expr_functor import PyExprMutator, mutator

from sam3port.kernels.cpu.patterns import graph as g
from sam3port.kernels.cpu.patterns.graph import Expr, Graph, Var
from sam3port.kernels.cpu.patterns.slices import index_of, ints_of

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
        for name, function in list(mod.functions_items()):
            if not isinstance(function, relax.Function):
                continue
            read = _read_alone(Graph(function))
            if not read:
                continue
            narrower = _Narrower(mod, read)
            narrower.builder_.update_func(name, narrower.visit_expr(function))
            mod = narrower.builder_.get()
        return mod

    return tvm.transform.module_pass(transform, opt_level=0, name="sam3port.cpu.leave_out_unread")


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


@mutator
class _Narrower(PyExprMutator):  # type: ignore[misc]
    """Computes variables for one index of axis 0, which is of length 1 then."""

    def __init__(self, mod: tvm.IRModule, read: dict[Var, int]) -> None:
        super().__init__(mod)
        self._read = read

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value, index = binding.value, self._read.get(binding.var)
        if index is not None:
            new = self._narrowed(value, index)
        elif self._is_taken(value):
            new = self.visit_expr(value.args[0])
        else:
            super().visit_var_binding_(binding)
            return
        keep = isinstance(binding.var, relax.DataflowVar)
        self.set_var_remap(binding.var, self.builder_.emit(new) if keep else self.builder_.emit_output(new))

    def _is_taken(self, value: Any) -> bool:
        """Whether `value` is the one index of what has no other by now."""
        if not isinstance(value, relax.Call) or getattr(value.op, "name", "") != "relax.strided_slice":
            return False
        return value.args[0] in self._read and ints_of(value.args[1]) == [0]

    def _narrowed(self, call: Any, index: int) -> Expr:
        follows = iter(_follows(call))

        def operand(given: Expr) -> Expr:
            if isinstance(given, relax.Tuple):
                return relax.Tuple([operand(field) for field in given.fields])
            new = self.visit_expr(given)
            if not next(follows) or given in self._read:
                return new
            return self.builder_.emit(relax.op.strided_slice(new, [0], [index], [index + 1]))

        return relax.Call(call.op, [operand(each) for each in call.args], call.attrs, call.ty_args)
