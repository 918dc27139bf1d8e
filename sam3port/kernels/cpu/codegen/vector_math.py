"""Rewrites exp, erf and sigmoid in a TIR function to arithmetic that LLVM can keep in vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from sam3port.kernels.cpu.codegen import expressions
from sam3port.kernels.cpu.codegen.emit import Value

_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "tirx.exp": expressions.exp,
    "tirx.erf": expressions.erf,
    "tirx.sigmoid": expressions.sigmoid,
}


def expand_math(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """`function` without calls of float32 exp, erf and sigmoid (each would be a libm call for each element)."""
    return function.with_body(tvm_ffi.structural_map(function.body, (Call, _expand)))


def is_expensive(node: Any) -> bool:
    """Whether computing `node` twice would be felt: it has a call that is more than a choice or a view."""
    cheap = {"tirx.if_then_else", "tirx.reinterpret", "tirx.likely", "tirx.fabs", "tirx.fma"}
    found: list[str] = []
    tvm_ffi.structural_walk(node, (Call, lambda call: found.append(_name(call))))
    return any(name not in cheap for name in found)


def _name(call: Any) -> str:
    return str(getattr(call.op, "name", ""))


def _expand(call: Any) -> Any:
    make = _FUNCTIONS.get(_name(call))
    if make is None or str(call.ty) != str(_FLOAT32):
        return call
    lets: list[tuple[Any, Value]] = []

    def bind(value: Value) -> Value:
        if isinstance(value, tirx.Var):
            return value
        var = tirx.Var(f"t{len(lets)}", value.ty)
        lets.append((var, value))
        return var

    result = make(call.args[0], bind, 1)
    for var, value in reversed(lets):
        result = tirx.Let(var, value, result)
    return result


_FLOAT32 = tirx.FloatImm("float32", 0.0).ty
