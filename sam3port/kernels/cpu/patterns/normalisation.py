"""Layer norm, group norm and softmax along contiguous memory."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.elementwise import normalisation as kernels
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.patterns.linear import follow, operands_of
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement


def match_normalisation(graph: Graph, var: Var, options: Options) -> Replacement | None:
    call = graph.call(var, "relax.nn.layer_norm", "relax.nn.group_norm", "relax.nn.softmax")
    if call is None or not g.is_float32(*call.args, var):
        return None
    shape = g.shape_of(call.args[0])
    if shape is None or len(shape) < 2:
        return None
    if call.op.name == "relax.nn.group_norm":
        return _group_norm(graph, call, var, shape, options.cpu)
    axes = [int(call.attrs.axis)] if call.op.name == "relax.nn.softmax" else [int(axis) for axis in call.attrs.axes]
    if [axis % len(shape) for axis in axes] != [len(shape) - 1]:
        return None
    return _rows(call, var, shape, options.cpu)


def _rows(call: Any, var: Var, shape: tuple[Any, ...], cpu: Cpu) -> Replacement | None:
    softmax = call.op.name == "relax.nn.softmax"
    length = shape[-1]
    if not isinstance(length, int):
        return None
    if not softmax and not (bool(call.attrs.center) and bool(call.attrs.scale)):
        return None
    rows = g.product(shape[:-1])

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        own = rows if isinstance(rows, int) else tirx.Var("rows", "int64")
        arguments = [g.reshaped(builder, new(call.args[0]), (rows, length))]
        if softmax:
            kernel = builder.add_func(kernels.softmax_func(own, length, cpu), "softmax")
        else:
            kernel = builder.add_func(
                kernels.layer_norm_func(own, length, float(call.attrs.epsilon), cpu), "layer_norm"
            )
            arguments += [new(call.args[1]), new(call.args[2])]
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType((rows, length), "float32")))
        return result if len(shape) == 2 else relax.op.reshape(result, shape)

    return Replacement(var, emit, "softmax" if softmax else "layer_norm")


def _group_norm(graph: Graph, call: Any, var: Var, shape: tuple[Any, ...], cpu: Cpu) -> Replacement | None:
    attrs = call.attrs
    batch, channels = shape[:2]
    size = g.product(shape[2:])
    axes = sorted(int(axis) % len(shape) for axis in attrs.axes)
    if int(attrs.channel_axis) % len(shape) != 1 or axes != list(range(2, len(shape))):
        return None
    if not g.ints([channels, size]) or not (bool(attrs.center) and bool(attrs.scale)):
        return None
    chain = follow(graph, var, channels, 1 - len(shape))
    steps = tuple(chain.steps)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        own = batch if isinstance(batch, int) else tirx.Var("n", "int64")
        function = kernels.group_norm_func(own, channels, size, int(attrs.num_groups), float(attrs.epsilon), cpu, steps)
        kernel = builder.add_func(function, "_".join(["group_norm", *steps]))
        flat = (batch, channels, size)
        arguments = [g.reshaped(builder, new(call.args[0]), flat), new(call.args[1]), new(call.args[2])]
        arguments += operands_of(builder, new, chain, channels, flat)
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(flat, "float32")))
        return relax.op.reshape(result, shape)

    return Replacement(chain.last, emit, "group_norm")
