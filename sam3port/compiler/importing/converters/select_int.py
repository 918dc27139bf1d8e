"""Indexing one axis with one number, negative ones included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments, unsupported

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    tensor, axis, index = given["self"], given["dim"], given["index"]
    axis %= tensor.ty.ndim
    if not isinstance(index, int):
        raise unsupported(node, f"only a number as index, not {index}")
    if index < 0:
        size = tensor.ty.shape[axis]
        if not isinstance(getattr(size, "value", None), int):
            raise unsupported(node, f"a negative index into an axis of unknown size {size}")
        index += size.value
    part = emit(relax.op.strided_slice(tensor, axes=[axis], begin=[index], end=[index + 1]))
    return emit(relax.op.squeeze(part, [axis]))


CONVERTER = Converter(
    operator="select.int",
    reason="TVM 0.27 gathers without checking the index: x[-1] reads the memory before x",
    retire_when="TVM's importer counts negative indices from the end",
    convert=_convert,
)
