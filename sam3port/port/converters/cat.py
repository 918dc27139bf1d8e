"""Concatenation of tensors of different types, and of nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.port.converter import Converter, arguments

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    result = node.meta["val"]
    dtype = str(result.dtype).removeprefix("torch.")
    # PyTorch skips tensors of shape [0] whatever the shape of the others.
    parts = [part for part in given["tensors"] if part.ty.ndim == result.ndim]
    parts = [part if str(part.ty.dtype) == dtype else emit(relax.op.astype(part, dtype)) for part in parts]
    return emit(relax.op.concat(parts, axis=given["dim"] % result.ndim))


CONVERTER = Converter(
    operator="cat.default",
    reason="TVM 0.27 refuses tensors of different types, where PyTorch takes the type that holds all of them",
    retire_when="TVM's importer promotes types in cat",
    convert=_convert,
)
