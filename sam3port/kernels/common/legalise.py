"""Legalisations of our own, where TVM's fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx


def _full(builder: relax.BlockBuilder, call: Any) -> Any:
    """``R.full`` and ``R.full_like``: topi.full of TVM 0.27 fails for -inf (``"float" in dtype`` with a PrimType)."""
    from sam3port.kernels.common.graph import scalar_constant, shape_of

    shape, fill, dtype = shape_of(call), scalar_constant(call.args[1]), str(call.ty.dtype)
    if shape is None or fill is None or not dtype.startswith("float"):
        return call  # left to the legalisation that comes next
    value = tirx.FloatImm(dtype, fill)
    return builder.call_te(lambda: te.compute(shape, lambda *_: value, name="full"), primfunc_name_hint="full")


LEGALISATIONS: dict[str, Callable[[relax.BlockBuilder, Any], Any]] = {
    "relax.full": _full,
    "relax.full_like": _full,
}
