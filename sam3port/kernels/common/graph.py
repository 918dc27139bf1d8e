"""A Relax function as definitions and uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvm import relax
from tvm.ir import Op
from tvm.ir.expr import GenericConst

Expr: TypeAlias = relax.Expr
"""What a variable is bound to, or read by: TVM's own, which mypy cannot look into."""
Var: TypeAlias = relax.Var
"""A variable of a Relax function."""
Shape: TypeAlias = tuple[Any, ...]
"""Ints, and symbolic expressions of type int64."""

Emit = Callable[[relax.BlockBuilder, Callable[[Expr], Expr]], Expr]
"""Given a builder and a function from old expressions to new ones, emits what is needed and returns the value."""


class Graph:
    """Definitions and uses of the variables of one Relax function."""

    def __init__(self, function: relax.Function) -> None:
        self.function = function
        self.bindings: list[tuple[Var, Expr]] = []
        self._definitions: dict[Var, Expr] = {}
        self._users: dict[Var, list[Var | None]] = defaultdict(list)
        inputs = len(function.params)
        if function.attrs is not None and "num_input" in function.attrs:
            inputs = int(function.attrs["num_input"])
        self._fixed: set[Var] = set(function.params[inputs:])
        self._without_input: set[Var] = set(self._fixed)
        self.replaced: set[Var] = set()
        """Variables whose value a kernel computes already: of two products in one sum, one takes the sum along."""
        self.bypassed: set[Var] = set()
        """Transposes that a kernel reads in front of: whoever computes what comes before has to leave that there.
        A pattern says in what it answers which these are; only who takes that adds to these and to `replaced`."""
        body = function.body
        blocks = body.blocks if isinstance(body, relax.SeqExpr) else []
        for block in blocks:
            for binding in block.bindings:
                self._add(binding.var, binding.value)
        result = body.body if isinstance(body, relax.SeqExpr) else body
        for var in _variables(result):
            self._users[var].append(None)

    def _add(self, var: Var, value: Expr) -> None:
        self.bindings.append((var, value))
        self._definitions[var] = value
        read = _variables(value)
        for other in read:
            self._users[other].append(var)
        if isinstance(value, GenericConst) or (read and all(other in self._fixed for other in read)):
            self._fixed.add(var)
        if all(other in self._without_input for other in read):
            self._without_input.add(var)

    def is_fixed(self, expr: Expr) -> bool:
        """Whether `expr` depends on weights only, so that work on it can be done once."""
        return isinstance(expr, GenericConst) or expr in self._fixed

    def reads_no_input(self, var: Var) -> bool:
        """Whether `var` is made of nothing but weights and what is computed from nothing, as a range of numbers is."""
        return var in self._without_input

    def definition(self, expr: Expr) -> Expr:
        """What the variable is bound to; `expr` itself when it is a parameter or no variable."""
        value = self._definitions.get(expr, expr) if isinstance(expr, relax.Var) else expr
        while isinstance(value, relax.Var) and value in self._definitions:
            value = self._definitions[value]
        return value

    def origin(self, expr: Expr) -> Expr:
        """The variable that `expr` is another name of; `expr` itself where it is none."""
        while isinstance(expr, relax.Var) and self.is_alias(expr):
            expr = self._definitions[expr]
        return expr

    def is_alias(self, var: Var) -> bool:
        """Whether `var` is but another name (``gv = lv``)."""
        return isinstance(self._definitions.get(var), relax.Var)

    def call(self, expr: Expr, *names: str) -> Any:
        """The call that defines `expr` when it is of one of these operators, else None."""
        value = self.definition(expr)
        if isinstance(value, relax.Call) and isinstance(value.op, Op) and value.op.name in names:
            return value
        return None

    def behind(self, expr: Expr, *names: str) -> Expr:
        """`expr`, or what it is made of by nothing but calls of these operators."""
        while (call := self.call(expr, *names)) is not None:
            expr = call.args[0]
        return expr

    def only_user(self, var: Var) -> Var | None:
        """The variable whose value alone reads `var`; None when there are several, or the result is one."""
        users = self._users[var]
        return users[0] if len(users) == 1 else None

    def users(self, var: Var) -> list[Var | None]:
        """Variables that read `var`; None stands for the function's result."""
        return list(self._users[var])


def _variables(expr: Expr) -> list[Var]:
    found: list[Var] = []

    def visit(node: Expr) -> None:
        if isinstance(node, relax.Var):
            found.append(node)
        elif isinstance(node, relax.Call):
            for argument in node.args:
                visit(argument)
        elif isinstance(node, relax.Tuple):
            for field in node.fields:
                visit(field)
        elif isinstance(node, relax.TupleGetItem):
            visit(node.tuple_value)

    visit(expr)
    return found


def shape_of(expr: Expr) -> Shape | None:
    """Dimensions of a tensor; None when it is no tensor of known rank."""
    ty = getattr(expr, "ty", None)
    shape = getattr(ty, "shape", None)
    if shape is None or not isinstance(shape, relax.ShapeExpr):
        return None
    return tuple(int(dim) if _is_int(dim) else dim for dim in shape.values)


def _is_int(dim: Any) -> bool:
    from tvm import tirx

    return isinstance(dim, int | tirx.IntImm)


def dtype_of(expr: Expr) -> str:
    return str(getattr(getattr(expr, "ty", None), "dtype", ""))


def is_float32(*exprs: Expr) -> bool:
    return all(dtype_of(expr) == "float32" for expr in exprs)


def ints(shape: Sequence[Any]) -> bool:
    return all(isinstance(dim, int) for dim in shape)


def scalar_constant(expr: Expr) -> float | None:
    """The value of a constant of one element."""
    if isinstance(expr, GenericConst):
        data = expr.value.numpy()
        if data.size == 1:
            return float(data.reshape(-1)[0])
    return None


def transpose_axes(call: Any) -> list[int]:
    """Which axis comes first, second, ... after a ``permute_dims``."""
    rank = len(shape_of(call.args[0]) or ())
    if call.attrs.axes is None:
        return list(range(rank))[::-1]
    return [int(axis) % rank for axis in call.attrs.axes]


def swaps_last(call: Any) -> bool:
    """Whether a ``permute_dims`` changes the last two axes with each other, and nothing else."""
    axes = transpose_axes(call)
    rank = len(axes)
    return rank >= 2 and axes == [*range(rank - 2), rank - 1, rank - 2]


def reshaped(builder: relax.BlockBuilder, value: Expr, shape: Shape) -> Expr:
    """`value` in that shape, through as few reshapes as will do."""
    while shape_of(value) != shape and isinstance(value, relax.Var):
        bound = builder.lookup_binding(value)
        if not (isinstance(bound, relax.Call) and getattr(bound.op, "name", "") == "relax.reshape"):
            break
        value = bound.args[0]
    return value if shape_of(value) == shape else builder.emit(relax.op.reshape(value, shape))


def product(dims: Sequence[Any]) -> Any:
    result: Any = 1
    for dim in dims:
        result = dim if isinstance(result, int) and result == 1 else result * dim
    return result
