"""Names of kernels that say what they compute: equal kernels have equal names, wherever they come from."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import tvm
from tvm import relax, tirx

from sam3port.kernels.common.rewriting import renamed

_LONGEST: Final = 60
"""Letters of the readable part: fused kernels are named after everything that is fused."""
_DIGITS: Final = 16
"""Of the digest, hexadecimal."""
_COUNTERS: Final = re.compile(r"\d+(?=_|$)")
"""What TVM adds to a name that there is already."""


def named_by_content(module: tvm.IRModule) -> tvm.IRModule:
    """``module`` with every kernel under the name of `name_of`, and its Relax functions calling them so.

    Kernels that are equal to the last letter become one.
    """
    builder = relax.BlockBuilder()
    names, made = {}, {}
    for variable, function in _in_order(module):
        if isinstance(function, tirx.PrimFunc):
            kernel = function.without_attr("global_symbol")
            name = name_of(str(variable.name_hint), kernel)
            if name not in made:
                made[name] = builder.add_func(kernel, name)
            names[variable] = made[name]
    kernels = builder.get()
    functions = {made[name]: kernels[made[name]] for name in made}
    for variable, function in _in_order(module):
        if not isinstance(function, tirx.PrimFunc):
            functions[variable] = renamed(function, names)
    return tvm.IRModule(functions, attrs=module.attrs)


def name_of(called: str, kernel: tirx.PrimFunc) -> str:
    """What a kernel is called: the beginning of ``called``, without counters, and a digest of all that it is.

    Args:
        called: its name so far.
        kernel: without the attribute ``global_symbol``.
    """
    digest = hashlib.sha256(tvm.ir.save_json(kernel).encode()).hexdigest()[:_DIGITS]
    said = _COUNTERS.sub("", called.removesuffix(f"_{digest}"))[:_LONGEST]
    return f"{said.strip('_')}_{digest}"


def _in_order(module: tvm.IRModule) -> list[tuple[Any, Any]]:
    return sorted(module.functions_items(), key=lambda item: str(item[0].name_hint))
