"""Layer norm over channels, as it is written out for NCHW images; weight, bias and activation fused."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.elementwise.channel_norm import channel_norm_func
from sam3port.kernels.cpu.patterns.linear import follow, operands_of
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement


def match_channel_norm(graph: Graph, var: Var, options: Options) -> Replacement | None:
    """``(x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon)``, means over axis 1 of four."""
    call = graph.call(var, "relax.divide")
    found = _normalised(graph, call)
    if found is None or not g.is_float32(var):
        return None
    x, epsilon = found
    shape = g.shape_of(x)
    if shape is None or len(shape) != 4 or g.shape_of(var) != shape or not g.ints(shape[1:]):
        return None
    batch, channels, height, width = shape
    chain = follow(graph, var, channels, -3)
    steps = tuple(chain.steps)
    out_shape = g.shape_of(chain.last)
    assert out_shape is not None

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        flat = (batch, channels, height * width)
        own = batch if isinstance(batch, int) else tirx.Var("n", "int64")
        function = channel_norm_func(own, channels, height * width, epsilon, options.cpu, steps)
        kernel = builder.add_func(function, "_".join(["channel_norm", *steps]))
        arguments = [g.reshaped(builder, new(x), flat), *operands_of(builder, new, chain, channels, flat)]
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(flat, "float32")))
        return relax.op.reshape(result, out_shape)

    return Replacement(chain.last, emit, "channel_norm")


def _normalised(graph: Graph, divide: Any) -> tuple[Expr, float] | None:
    """What is normalised, and epsilon."""
    if divide is None:
        return None
    x = _centred(graph, divide.args[0])
    root = graph.call(divide.args[1], "relax.sqrt")
    total = None if root is None else graph.call(root.args[0], "relax.add")
    if x is None or total is None:
        return None
    epsilon = g.scalar_constant(total.args[1])
    variance = _mean_over_channels(graph, total.args[0])
    if epsilon is None or variance is None:
        return None
    deviations = _factors(graph, variance.args[0])
    return (x, epsilon) if deviations and all(_same(graph, _centred(graph, d), x) for d in deviations) else None


def _factors(graph: Graph, square: Expr) -> list[Expr]:
    """a and b of ``a * b``, a alone of ``a ** 2``."""
    if (product := graph.call(square, "relax.multiply")) is not None:
        return list(product.args)
    power = graph.call(square, "relax.power")
    return [power.args[0]] if power is not None and g.scalar_constant(power.args[1]) == 2.0 else []


def _centred(graph: Graph, expr: Expr) -> Expr | None:
    """x, where `expr` is ``x - mean(x)``."""
    call = graph.call(expr, "relax.subtract")
    mean = None if call is None else _mean_over_channels(graph, call.args[1])
    return call.args[0] if mean is not None and _same(graph, mean.args[0], call.args[0]) else None


def _mean_over_channels(graph: Graph, expr: Expr) -> Any:
    call = graph.call(expr, "relax.mean")
    if call is None or call.attrs.axis is None or not bool(call.attrs.keepdims):
        return None
    return call if [int(axis) for axis in call.attrs.axis] in ([1], [-3]) else None


def _same(graph: Graph, a: Expr | None, b: Expr) -> bool:
    """Whether both are one value, by whichever name."""
    return a is not None and (a.same_as(b) or bool(graph.definition(a).same_as(graph.definition(b))))
