"""roi_align as upstream calls it: not aligned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments, unsupported

if TYPE_CHECKING:
    from torch import fx


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax

    given = arguments(node, importer)
    if given["aligned"]:
        raise unsupported(node, "aligned regions, which TVM computes differently")
    return importer.block_builder.emit(
        relax.op.vision.roi_align(
            given["input"],
            given["rois"],
            pooled_size=(given["pooled_height"], given["pooled_width"]),
            spatial_scale=given["spatial_scale"],
            sample_ratio=given["sampling_ratio"],
            aligned=False,
            layout="NCHW",
            mode="avg",
        )
    )


CONVERTER = Converter(
    operator="torchvision::roi_align.default",
    reason="TVM 0.27 shifts aligned regions by half a pixel before it scales them, and widens empty ones to a pixel:"
    " wrong for every scale but 1. The others agree; aligned ones are refused here",
    retire_when="TVM's importer hands aligned on to its own operator",
    convert=_convert,
)
