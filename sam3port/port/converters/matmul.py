"""Products of two tensors stay one operator each, which asks for float32 only where upstream does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sam3port.port.converter import Converter, arguments
from sam3port.port.float32_regions import product_dtype

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    left, right = list(arguments(node, importer).values())[:2]
    return importer.block_builder.emit(relax.op.matmul(left, right, product_dtype(node)))


def _convert_addmm(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    product = emit(relax.op.matmul(given["mat1"], given["mat2"], product_dtype(node)))

    def scaled(value: Any, factor: float) -> Any:
        return value if factor == 1 else emit(relax.op.multiply(value, relax.const(factor, value.ty.dtype)))

    product = scaled(product, given["alpha"])
    # PyTorch does not read what it would multiply by zero: there may be NaN in it.
    return product if given["beta"] == 0 else emit(relax.op.add(product, scaled(given["self"], given["beta"])))


_REASON: Final = "TVM 0.27 asks for a float32 result, which means to the kernels of a bfloat16 build: round nothing"
_RETIRE: Final = "TVM's importer gives no out_dtype"

MATMUL = Converter(
    operator="matmul.default",
    reason="torch decomposes it into expand, view and bmm, and TVM then copies both operands",
    retire_when="never: it is the form that the targets' pipelines recognise",
    convert=_convert,
    keep_whole=True,
)
BMM = Converter(operator="bmm.default", reason=_REASON, retire_when=_RETIRE, convert=_convert)
MM = Converter(operator="mm.default", reason=_REASON, retire_when=_RETIRE, convert=_convert)
ADDMM = Converter(operator="addmm.default", reason=_REASON, retire_when=_RETIRE, convert=_convert_addmm)
