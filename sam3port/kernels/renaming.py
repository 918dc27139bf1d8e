"""Functions that call others by new names: what merging modules takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator


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
