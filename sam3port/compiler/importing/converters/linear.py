"""A linear layer stays recognisable: matrix product with the transposed weight, then the bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments
from sam3port.compiler.importing.float32_regions import product_dtype

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    weight = emit(relax.op.permute_dims(given["weight"], [1, 0]))
    product = emit(relax.op.matmul(given["input"], weight, out_dtype=product_dtype(node)))
    return product if given["bias"] is None else emit(relax.op.add(product, given["bias"]))


CONVERTER = Converter(
    operator="linear.default",
    reason="torch decomposes it into views around addmm, which hide the layer from the kernels",
    retire_when="never: it is the form that the targets' pipelines recognise",
    convert=_convert,
    keep_whole=True,
)
