"""Products of two tensors stay one operator each, which asks for float32 only where upstream does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments
from sam3port.compiler.importing.float32_regions import product_dtype

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    left, right = list(arguments(node, importer).values())[:2]
    return importer.block_builder.emit(relax.op.matmul(left, right, product_dtype(node)))


MATMUL = Converter(
    operator="matmul.default",
    reason="torch decomposes it into expand, view and bmm, and TVM then copies both operands",
    retire_when="never: it is the form that the targets' pipelines recognise",
    convert=_convert,
    keep_whole=True,
)
BMM = Converter(
    operator="bmm.default",
    reason="TVM 0.27 asks for a float32 result, which means to the kernels of a bfloat16 build: round nothing",
    retire_when="TVM's importer gives no out_dtype",
    convert=_convert,
)
