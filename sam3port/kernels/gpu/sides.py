"""A module apart: what the device runs, and what prepares its weights beforehand on the host."""

from __future__ import annotations

from typing import Final

import tvm
from tvm import relax

from sam3port.kernels.common.rewriting import renamed

_LIFTED: Final = "_transform_params"
"""How ``LiftTransformParams`` ends the names of its functions."""


def split(mod: tvm.IRModule) -> tuple[tvm.IRModule, tvm.IRModule]:
    """The functions of `mod` for the device, and those for the host. No function of either calls one of the other."""
    device, host = tvm.IRModule(attrs=mod.attrs), tvm.IRModule()
    for name, function in mod.functions_items():
        (host if name.name_hint.endswith(_LIFTED) else device)[name] = function
    return device, host


def merge(device: tvm.IRModule, host: tvm.IRModule) -> tvm.IRModule:
    """Both in one module again; the host's kernels get names of their own, since they are compiled otherwise."""
    builder = relax.BlockBuilder(device)
    names = {
        name: builder.add_func(function, f"prepare_{name.name_hint}")
        for name, function in host.functions_items()
        if not isinstance(function, relax.Function)
    }
    merged = builder.get()
    for name, function in host.functions_items():
        if isinstance(function, relax.Function):
            merged[name] = renamed(function, names)
    return merged
