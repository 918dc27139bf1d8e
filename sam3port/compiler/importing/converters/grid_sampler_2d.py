"""grid_sample: PyTorch's grid has its coordinates in the last axis, TVM's in the second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments, unsupported

if TYPE_CHECKING:
    from torch import fx

_BILINEAR, _ZEROS = 0, 0


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    given = arguments(node, importer)
    if given["interpolation_mode"] != _BILINEAR or given["padding_mode"] != _ZEROS:
        raise unsupported(node, "only bilinear interpolation with zeros outside was checked")
    grid = importer.block_builder.emit(relax.op.permute_dims(given["grid"], [0, 3, 1, 2]))
    return importer.block_builder.emit(
        relax.op.image.grid_sample(
            given["input"],
            grid,
            method="bilinear",
            layout="NCHW",
            padding_mode="zeros",
            align_corners=bool(given["align_corners"]),
        )
    )


CONVERTER = Converter(
    operator="grid_sampler_2d.default",
    reason="TVM 0.27 passes the (N, H, W, 2) grid on as it is, where its own operator reads (N, 2, H, W): it imports,"
    " and samples at places that have nothing to do with the grid",
    retire_when="TVM's importer permutes the grid",
    convert=_convert,
)
