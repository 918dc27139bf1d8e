"""Comparing booleans."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments

if TYPE_CHECKING:
    from torch import fx


def _comparison(*, equal: bool) -> Callable[[fx.Node, Any], Any]:
    def convert(node: fx.Node, importer: Any) -> Any:
        from tvm import relax

        emit = importer.block_builder.emit
        given = arguments(node, importer)
        tensor, other = given["self"], given["other"]
        dtype = str(tensor.ty.dtype)
        if dtype == "bool" and other in {0, 1}:
            return tensor if bool(other) == equal else emit(relax.op.logical_not(tensor))
        if dtype == "bool" or (isinstance(other, float) and not dtype.startswith("float")):
            # PyTorch compares in the type that holds both.
            dtype = "float32" if isinstance(other, float) else "int64"
            tensor = emit(relax.op.astype(tensor, dtype))
        same = emit(relax.op.equal(tensor, relax.const(other, dtype)))
        # Not `not_equal`: TVM says that NaN is not different from a number.
        return same if equal else emit(relax.op.logical_not(same))

    return convert


_REASON = (
    "TVM 0.27 compares vectors of booleans as floats in LLVM, which LLVM refuses (`fcmp` on i1); and its importer"
    " compares a tensor of integers with a fraction as integers"
)
_RETIRE = "vectors of booleans compile, and types are promoted"

EQUAL = Converter(
    operator="eq.Scalar",
    reason=_REASON,
    retire_when=_RETIRE,
    convert=_comparison(equal=True),
)
NOT_EQUAL = Converter(
    operator="ne.Scalar",
    reason=_REASON,
    retire_when=_RETIRE,
    convert=_comparison(equal=False),
)
