"""Outline: a module's Relax functions apart from the kernels that they call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.target import Target

_ANCHOR: Final = "sam3port_library"
"""A function that does nothing: TVM makes a library of LLVM's kind only of modules that have one."""


def outline(module: tvm.IRModule, entries: list[str]) -> tuple[tvm.IRModule, dict[str, tirx.PrimFunc]]:
    """``module`` with calls of kernels by name alone, and these kernels by their names.

    Args:
        module: optimised; its kernels' names say what they are, by `sam3port.kernels.common.naming.named_by_content`.
        entries: the Relax functions that are kept.

    Returns:
        The module still has kernels that are called in another way than by ``call_tir`` of an output per result.
    """
    kernels = {
        variable: function for variable, function in module.functions_items() if isinstance(function, tirx.PrimFunc)
    }
    outliner = _Outliner({variable: str(variable.name_hint) for variable in kernels})
    functions = {
        variable: function if variable in kernels else outliner.visit_expr(function)
        for variable, function in module.functions_items()
    }
    rest = relax.transform.DeadCodeElimination(entries)(tvm.IRModule(functions, attrs=module.attrs))
    return rest, {str(variable.name_hint): kernels[variable] for variable in outliner.outlined}


def executable(module: tvm.IRModule, target: Target) -> Any:
    """What ``tvm.compile`` makes of a module that `outline` returned."""
    anchor = tirx.PrimFunc([], tirx.Evaluate(0)).with_attr("global_symbol", _ANCHOR)
    calls = tvm.IRModule({**dict(module.functions_items()), tvm.ir.GlobalVar(_ANCHOR): anchor}, attrs=module.attrs)
    steps = tvm.transform.Sequential([relax.get_pipeline("default"), _leave_out_uncalled])
    return tvm.compile(calls, target=target, relax_pipeline=steps)


@tvm.transform.module_pass(opt_level=0, name="sam3port.leave_out_uncalled")  # type: ignore[untyped-decorator]
def _leave_out_uncalled(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
    """TVM makes kernels of reshapes, then views in place of their calls, and compiles the kernels all the same."""
    called: set[str] = {_ANCHOR}
    for _, function in module.functions_items():
        tvm_ffi.structural_walk(function, (tvm.ir.GlobalVar, lambda variable: called.add(str(variable.name_hint))))
    kept = {
        variable: function
        for variable, function in module.functions_items()
        if not isinstance(function, tirx.PrimFunc) or str(variable.name_hint) in called
    }
    return tvm.IRModule(kept, attrs=module.attrs)


@mutator
class _Outliner(PyExprMutator):  # type: ignore[misc]
    def __init__(self, kernels: Mapping[Any, str]) -> None:
        super().__init__()
        self._kernels = kernels
        self._call_tir = tvm.ir.Op.get("relax.call_tir")
        self.outlined: set[Any] = set()

    def visit_call_(self, call: Any) -> Any:
        # A third argument holds sizes that are known when it runs only.
        if call.op != self._call_tir or call.args[0] not in self._kernels or len(call.args) > 2:
            return super().visit_call_(call)
        self.outlined.add(call.args[0])
        results = call.ty_args[0]
        types = list(results.fields) if isinstance(results, relax.TupleType) else results
        return relax.call_dps_packed(self._kernels[call.args[0]], call.args[1], types)
