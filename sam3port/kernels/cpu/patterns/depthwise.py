"""Convolutions of each channel by itself; bias and activation fused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.convolutions.depthwise import DepthwiseSpec, depthwise_func
from sam3port.kernels.cpu.patterns.convolution import four, in_order, known, pair
from sam3port.kernels.cpu.patterns.linear import follow, operands_of
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement


def match_depthwise(graph: Graph, var: Var, options: Options) -> Replacement | None:
    call = graph.call(var, "relax.nn.conv2d")
    if call is None or not in_order(call, "OIHW") or not known(graph, call, var):
        return None
    x, weight = call.args
    batch, channels, height, width = g.shape_of(x) or ()
    features, members, kh, kw = g.shape_of(weight) or ()
    if int(call.attrs.groups) != channels or (features, members) != (channels, 1):
        return None
    if pair(call.attrs.strides) != (1, 1):
        return None
    spec = DepthwiseSpec(
        batch, channels, height, width, (kh, kw), four(call.attrs.padding), pair(call.attrs.dilation)
    )  # fmt: skip
    chain = follow(graph, var, channels, -3)
    steps = tuple(chain.steps)
    out_shape = g.shape_of(chain.last)
    assert out_shape is not None

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        own = spec if isinstance(batch, int) else replace(spec, batch=tirx.Var("n", "int64"))
        kernel = builder.add_func(depthwise_func(own, options.cpu, steps), "_".join(["depthwise", *steps]))
        flat = (batch, channels, spec.out_height * spec.out_width)
        filters = g.reshaped(builder, new(weight), (channels, kh, kw))
        arguments = [new(x), filters, *operands_of(builder, new, chain, channels, flat)]
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(flat, "float32")))
        return relax.op.reshape(result, out_shape)

    return Replacement(chain.last, emit, "depthwise")
