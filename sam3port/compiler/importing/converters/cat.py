"""Concatenation of tensors of different types, and of nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sam3port.compiler.importing.converter import Converter, arguments

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    result = node.meta["val"]
    dtype = str(result.dtype).removeprefix("torch.")
    # Nothing adds nothing; PyTorch even skips tensors of shape [0] whatever the shape of the others.
    read = zip(given["tensors"], cast("list[fx.Node]", node.args[0]), strict=True)
    parts = [part for part, source in read if source.meta["val"].numel()] or [given["tensors"][0]]
    parts = [part if str(part.ty.dtype) == dtype else emit(relax.op.astype(part, dtype)) for part in parts]
    return emit(relax.op.concat(parts, axis=given["dim"] % result.ndim))


CONVERTER = Converter(
    operator="cat.default",
    reason="TVM 0.27 refuses tensors of different types, where PyTorch takes the type that holds all of them; and a"
    " library with an empty constant (which upstream concatenates) cannot be loaded: Invalid DLTensor file format",
    retire_when="TVM's importer promotes types in cat, and its libraries may hold empty tensors",
    convert=_convert,
)
