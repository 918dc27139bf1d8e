"""Functions with other values in place of their variables, or that call others by new names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from sam3port.kernels.common.graph import Emit, Var


def rewritten(mod: tvm.IRModule, values: Callable[[relax.Function], Mapping[Var, Emit]]) -> tvm.IRModule:
    """`mod` with the variables of its Relax functions computed in another way.

    Args:
        values: what emits the new value of each variable that gets one.
    """
    for name, function in list(mod.functions_items()):
        if not isinstance(function, relax.Function):
            continue
        emitters = values(function)
        if not emitters:
            continue
        rewriter = _Rewriter(mod, emitters)
        rewriter.builder_.update_func(name, rewriter.visit_expr(function))
        mod = rewriter.builder_.get()
    return mod


@mutator
class _Rewriter(PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: tvm.IRModule, emitters: Mapping[Var, Emit]) -> None:
        super().__init__(mod)
        self._emitters = emitters

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        emit = self._emitters.get(binding.var)
        if emit is None:
            super().visit_var_binding_(binding)
            return
        value = emit(self.builder_, self.visit_expr)
        keep = isinstance(binding.var, relax.DataflowVar)
        new = self.builder_.emit(value) if keep else self.builder_.emit_output(value)
        self.set_var_remap(binding.var, new)


def renamed(function: relax.Function, names: Mapping[Any, Any]) -> relax.Function:
    """``function`` with other global variables, old to new; those that ``names`` lacks stay."""
    return _Renamer(names).visit_expr(function)


@mutator
class _Renamer(PyExprMutator):  # type: ignore[misc]
    def __init__(self, names: Mapping[Any, Any]) -> None:
        super().__init__()
        self._names = names

    def visit_global_var_(self, variable: Any) -> Any:
        return self._names.get(variable, variable)
