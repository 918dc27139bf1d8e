"""Leaves out what nobody reads: where one index of the leading axis is taken in the end, only that one is computed.

Upstream computes boxes and scores from the queries of all six decoder layers and takes the last layer's in inference
(`Sam3Image._update_scores_and_boxes`, sam3/model/sam3_image.py:302).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import tvm
from tvm import relax
from tvm.ir import Op
from tvm.relax.expr_functor import PyExprMutator, mutator

from sam3port.kernels.cpu.patterns import graph as g
from sam3port.kernels.cpu.patterns.graph import Expr, Graph, Var
from sam3port.kernels.cpu.patterns.slices import index_of

_ELEMENTWISE: Final = {
    f"relax.{name}"
    for name in (
        *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "clip", "astype"),
        *("abs", "exp", "log", "negative", "sigmoid", "sqrt", "rsqrt", "tanh"),
        *("nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu"),
    )
}


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
        if not _followed(value):
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
    followed = _followed(call)
    reads = [operand for operand in _operands(call) if operand.same_as(var)]
    return found[user] if len(reads) == sum(operand.same_as(var) for operand in followed) else None


def _operands(call: Any) -> list[Expr]:
    fields = [list(each.fields) if isinstance(each, relax.Tuple) else [each] for each in call.args]
    return [operand for each in fields for operand in each]


def _followed(call: Any) -> list[Expr]:
    """The operands of which index i of axis 0, and no other, makes index i of axis 0 of the result; [] if others do.

    Operands that are the same for all of them are not among these.
    """
    shape = g.shape_of(call)
    if not isinstance(call, relax.Call) or not isinstance(call.op, Op) or not shape:
        return []
    if not isinstance(shape[0], int) or shape[0] < 2:
        return []
    name = call.op.name
    if name in _ELEMENTWISE or name == "relax.matmul":
        operands = list(call.args)
        if name == "relax.matmul" and len(shape) < 3:  # axis 0 are rows of the left operand
            operands = operands[:1]
        return _leading(operands, shape)
    apart = {
        "relax.strided_slice": lambda: [int(axis.value) for axis in call.args[1].fields],
        "relax.squeeze": lambda: None if call.attrs.axis is None else list(call.attrs.axis),
        "relax.expand_dims": lambda: list(call.attrs.axis),
        "relax.concat": lambda: [call.attrs.axis],
        "relax.nn.layer_norm": lambda: list(call.attrs.axes),
        "relax.nn.softmax": lambda: [call.attrs.axis],
    }
    axes = apart[name]() if name in apart else None
    if axes is None:
        return []
    first = call.args[0]
    fields = list(first.fields) if isinstance(first, relax.Tuple) else [first]
    # A removed axis is counted in the operand, an added one in the result.
    rank = len(shape) if name == "relax.expand_dims" else len(g.shape_of(fields[0]) or ())
    if any(int(axis) % rank == 0 for axis in axes):
        return []
    return fields


def _leading(operands: Sequence[Expr], shape: g.Shape) -> list[Expr]:
    """Those of `operands` that have all axes of the result, the first one in full."""
    sizes = [(operand, g.shape_of(operand)) for operand in operands]
    return [operand for operand, size in sizes if size and len(size) == len(shape) and size[0] == shape[0]]


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
        return value.args[0] in self._read and [int(axis.value) for axis in value.args[1].fields] == [0]

    def _narrowed(self, call: Any, index: int) -> Expr:
        followed = _followed(call)

        def operand(given: Expr) -> Expr:
            if isinstance(given, relax.Tuple):
                return relax.Tuple([operand(field) for field in given.fields])
            new = self.visit_expr(given)
            if given in self._read or not any(given.same_as(each) for each in followed):
                return new
            return self.builder_.emit(relax.op.strided_slice(new, [0], [index], [index + 1]))

        return relax.Call(call.op, [operand(each) for each in call.args], call.attrs, call.ty_args)
