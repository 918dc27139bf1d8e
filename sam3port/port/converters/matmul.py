"""A batched matrix product stays one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.port.converter import Converter, arguments
from sam3port.port.float32_regions import product_dtype

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    given = arguments(node, importer)
    return importer.block_builder.emit(relax.op.matmul(given["self"], given["other"], product_dtype(node)))


CONVERTER = Converter(
    operator="matmul.default",
    reason="torch decomposes it into expand, view and bmm, and TVM then copies both operands",
    retire_when="never: it is the form that the targets' pipelines recognise",
    convert=_convert,
    keep_whole=True,
)
