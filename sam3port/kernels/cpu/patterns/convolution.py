"""Convolutions of one group, and transposed ones whose stride is their kernel; bias and activation fused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tvm import relax, tirx
from tvm.ir.expr import GenericConst

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.convolutions import convolution as kernels
from sam3port.kernels.cpu.convolutions import winograd
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from sam3port.kernels.cpu.convolutions.transposed_convolution import piece_of_line, transposed_convolution_func
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.policy import Kind, Site
from sam3port.kernels.cpu.patterns.linear import follow, linear_replacement, operands_of
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule
from sam3port.kernels.cpu.workloads.tuned import marked
from sam3port.kernels.cpu.workloads.workload import ConvolutionWork, TransposedConvolutionWork


def match_convolution(graph: Graph, var: Var, options: Options) -> Replacement | None:
    call = graph.call(var, "relax.nn.conv2d")
    if call is None or not _plain(call, "OIHW") or not known(graph, call, var):
        return None
    x, weight = call.args
    batch, channels, height, width = g.shape_of(x) or ()
    features, weight_channels, kh, kw = g.shape_of(weight) or ()
    if weight_channels != channels:
        return None
    spec = ConvolutionSpec(
        batch, channels, height, width, features, (kh, kw),
        stride=pair(call.attrs.strides), padding=four(call.attrs.padding), dilation=pair(call.attrs.dilation),
    )  # fmt: skip
    chain = follow(graph, var, features, -3)
    if spec.pixels == 1 and spec.kernel == (height, width) and not any(spec.padding):
        # The kernel covers the image: each item is one row of a product.
        return linear_replacement(x, weight, Site(Kind.LINEAR, batch), (features, spec.depth), chain, options)
    steps = tuple(chain.steps)
    out_shape = g.shape_of(chain.last)
    assert out_shape is not None
    cpu, arithmetic = options.cpu, options.arithmetic(Site(Kind.CONVOLUTION, features))
    minimal = winograd.fits(spec, cpu)
    workload = ConvolutionWork(spec, steps, options.precision) if isinstance(batch, int) and not minimal else None
    schedule = options.tuned.product(workload, cpu)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        own = spec if isinstance(batch, int) else replace(spec, batch=tirx.Var("n", "int64"))
        fixed = new(weight)
        if minimal:
            packed = _transformed_weight(builder, fixed, own, arithmetic)
            function = winograd.winograd_func(own, arithmetic, steps)
        else:
            packed = _packed_weight(builder, fixed, own, arithmetic, schedule)
            function = marked(kernels.convolution_func(own, arithmetic, steps, schedule), schedule, workload)
        kernel = builder.add_func(function, "_".join(["convolution", *steps]))
        flat = (batch, features, spec.pixels)
        arguments = [new(x), packed, *operands_of(builder, new, chain, features, flat)]
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(flat, "float32")))
        return relax.op.reshape(result, out_shape)

    flops = 2 * batch * spec.pixels * spec.depth * features if isinstance(batch, int) else None
    return Replacement(chain.last, emit, "convolution", flops, workload)


def _packed_weight(
    builder: relax.BlockBuilder,
    fixed: Expr,
    spec: ConvolutionSpec,
    arithmetic: Arithmetic,
    schedule: ProductSchedule | None,
) -> Expr:
    if isinstance(fixed, GenericConst):
        return relax.const(kernels.pack_convolution(fixed.value.numpy(), arithmetic, schedule))
    packing = kernels.pack_convolution_func(spec.features, spec.channels, spec.kernel, arithmetic, schedule)
    pack = builder.add_func(packing, "pack_convolution")
    packed_shape = kernels.packed_rows_shape(spec.features, spec.groups(arithmetic), arithmetic, schedule)
    return builder.emit(relax.call_tir(pack, [fixed], relax.TensorType(packed_shape, arithmetic.format.stored)))


def _transformed_weight(
    builder: relax.BlockBuilder, fixed: Expr, spec: ConvolutionSpec, arithmetic: Arithmetic
) -> Expr:
    if isinstance(fixed, GenericConst):
        return relax.const(winograd.pack_winograd(fixed.value.numpy(), spec, arithmetic))
    pack = builder.add_func(winograd.pack_winograd_func(spec, arithmetic), "pack_convolution")
    packed_type = relax.TensorType(winograd.packed_shape(spec, arithmetic), "float32")
    return builder.emit(relax.call_tir(pack, [fixed], packed_type))


def match_transposed_convolution(graph: Graph, var: Var, options: Options) -> Replacement | None:
    call = graph.call(var, "relax.nn.conv2d_transpose")
    if call is None or not _plain(call, "IOHW") or not known(graph, call, var):
        return None
    x, weight = call.args
    batch, channels, height, width = g.shape_of(x) or ()
    weight_channels, features, kh, kw = g.shape_of(weight) or ()
    if weight_channels != channels or pair(call.attrs.strides) != (kh, kw) or any(four(call.attrs.padding)):
        return None
    if pair(call.attrs.output_padding) != (0, 0) or pair(call.attrs.dilation) != (1, 1):
        return None
    # Operands as large as the output are worth reading only where whole vectors of it are written.
    chain = follow(graph, var, features, -3, tensors=piece_of_line(width, kw, options.cpu.lanes) is not None)
    steps = tuple(chain.steps)
    out_shape = g.shape_of(chain.last)
    assert out_shape is not None
    size = (height, width)
    sizes = (batch, channels, size, features, (kh, kw))
    cpu, arithmetic = options.cpu, options.arithmetic(Site(Kind.CONVOLUTION, features * kh * kw))
    workload = TransposedConvolutionWork(*sizes, steps, options.precision) if isinstance(batch, int) else None
    schedule = options.tuned.product(workload, cpu)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        fixed = new(weight)
        if isinstance(fixed, GenericConst):
            packed: Expr = relax.const(kernels.pack_transposed(fixed.value.numpy(), arithmetic, schedule))
        else:
            packing = kernels.pack_transposed_func(channels, features, (kh, kw), arithmetic, schedule)
            pack = builder.add_func(packing, "pack_transposed")
            packed_shape = kernels.packed_rows_shape(
                features * kh * kw, arithmetic.format.groups(channels), arithmetic, schedule
            )
            packed_type = relax.TensorType(packed_shape, arithmetic.format.stored)
            packed = builder.emit(relax.call_tir(pack, [fixed], packed_type))
        own_batch = batch if isinstance(batch, int) else tirx.Var("n", "int64")
        function = transposed_convolution_func(
            own_batch, channels, size, features, (kh, kw), arithmetic, steps, schedule
        )
        kernel = builder.add_func(marked(function, schedule, workload), "_".join(["transposed_convolution", *steps]))
        source = g.reshaped(builder, new(x), (batch, channels, height * width))
        arguments = [source, packed, *operands_of(builder, new, chain, features, out_shape)]
        return relax.call_tir(kernel, arguments, relax.TensorType(out_shape, "float32"))

    flops = 2 * batch * height * width * channels * features * kh * kw if isinstance(batch, int) else None
    return Replacement(chain.last, emit, "transposed_convolution", flops, workload)


def _plain(call: Any, kernel_layout: str) -> bool:
    return int(call.attrs.groups) == 1 and in_order(call, kernel_layout)


def in_order(call: Any, kernel_layout: str) -> bool:
    """Whether the axes are in the order that the kernels read."""
    attrs = call.attrs
    return (
        str(attrs.data_layout) == "NCHW"
        and str(attrs.kernel_layout) == kernel_layout
        and str(attrs.out_layout or "NCHW") == "NCHW"
    )


def known(graph: Graph, call: Any, var: Var) -> bool:
    """float32, a fixed weight, and sizes known except for the batch."""
    x, weight = call.args
    x_shape, w_shape = g.shape_of(x), g.shape_of(weight)
    if x_shape is None or w_shape is None or len(x_shape) != 4 or len(w_shape) != 4:
        return False
    if not g.ints([*x_shape[1:], *w_shape]):
        return False
    return g.is_float32(x, weight, var) and graph.is_fixed(weight)


def pair(values: Any) -> tuple[int, int]:
    numbers = [int(value) for value in values]
    return (numbers[0], numbers[-1])


def four(values: Any) -> tuple[int, int, int, int]:
    numbers = [int(value) for value in values]
    if len(numbers) == 1:
        numbers *= 4
    if len(numbers) == 2:
        numbers *= 2
    return (numbers[0], numbers[1], numbers[2], numbers[3])
