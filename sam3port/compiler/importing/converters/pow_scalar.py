"""Squares and square roots as PyTorch computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    base, exponent = given["self"], given["exponent"]
    if exponent == 1:
        return base
    if exponent == 2:
        return emit(relax.op.multiply(base, base))
    if exponent == 0.5:
        return emit(relax.op.sqrt(base))
    return emit(relax.op.power(base, relax.const(exponent, str(base.ty.dtype))))


CONVERTER = Converter(
    operator="pow.Tensor_Scalar",
    reason="TVM calls libm's powf for each element, also for squares, which PyTorch multiplies",
    retire_when="TVM simplifies powers of 2",
    convert=_convert,
)
