"""A table look-up that stays inside the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    shape = list(given["indices"].ty.shape)
    flat = emit(relax.op.reshape(given["indices"], [-1]))
    rows = emit(relax.op.take(given["weight"], flat, axis=0, mode="clip"))
    return emit(relax.op.reshape(rows, [*shape, given["weight"].ty.shape[1]]))


CONVERTER = Converter(
    operator="embedding.default",
    reason="TVM 0.27 gathers without checking: a token outside the vocabulary reads foreign memory or ends the process,"
    " where PyTorch raises an error. Here it takes the nearest row",
    retire_when="TVM's importer gathers in a mode that stays inside the table",
    convert=_convert,
)
