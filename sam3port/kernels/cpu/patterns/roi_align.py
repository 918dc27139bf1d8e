"""Pooling of regions (``R.vision.roi_align``), not aligned, mean of the samples."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.elementwise.roi_align import RoiAlignSpec, roi_align_func
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement


def match_roi_align(graph: Graph, var: Var, options: Options) -> Replacement | None:
    call = graph.call(var, "relax.vision.roi_align")
    if call is None or not g.is_float32(*call.args, var):
        return None
    attrs = call.attrs
    if bool(attrs.aligned) or str(attrs.mode) != "avg" or str(attrs.layout) != "NCHW":
        return None
    x_shape, regions_shape, out_shape = (g.shape_of(expr) for expr in (*call.args, var))
    if x_shape is None or regions_shape is None or out_shape is None or not g.ints(x_shape):
        return None
    regions = regions_shape[0]

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        own = regions if isinstance(regions, int) else tirx.Var("n", "int64")
        pooled = (int(attrs.pooled_size[0]), int(attrs.pooled_size[1]))
        samples = max(0, int(attrs.sample_ratio))
        batch, channels, height, width = x_shape
        spec = RoiAlignSpec(
            batch, channels, height, width, own, pooled, scale=float(attrs.spatial_scale), samples=samples
        )
        kernel = builder.add_func(roi_align_func(spec, options.cpu), "roi_align")
        arguments = [new(argument) for argument in call.args]
        return relax.call_tir(kernel, arguments, relax.TensorType(out_shape, "float32"))

    return Replacement(var, emit, "roi_align")
