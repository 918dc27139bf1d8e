"""Division that rounds: the divisor takes the type of what it divides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments, unsupported

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    dividend, divisor, mode = given["self"], given["other"], given["rounding_mode"]
    if not isinstance(divisor, int | float) or mode not in {None, "floor"}:
        raise unsupported(node, f"only a number as divisor and rounding to floor, not {mode} by {divisor}")
    dtype = str(dividend.ty.dtype)
    if not dtype.startswith("float"):
        raise unsupported(node, f"division of {dtype}")
    if mode is not None and abs(math.frexp(divisor)[0]) != 0.5:
        # PyTorch rounds as if it had divided exactly: 0.9 // 0.1 is 8, floor(0.9 / 0.1) is 9.
        raise unsupported(node, f"rounding after a division by {divisor}, which is not exact")
    quotient = emit(relax.op.divide(dividend, relax.const(float(divisor), dtype)))
    return quotient if mode is None else emit(relax.op.floor(quotient))


CONVERTER = Converter(
    operator="div.Tensor_mode",
    reason="TVM 0.27 makes an int32 constant of a whole divisor and then refuses to divide a float tensor by it",
    retire_when="TVM's importer gives the divisor the tensor's type",
    convert=_convert,
)
