"""Two linear layers with few numbers at both ends, seen from the second one's product."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.patterns.linear import ACTIVATIONS, Layer, follow, layer_of, operands_of
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement
from sam3port.kernels.cpu.products.narrow_mlp import fits, narrow_mlp_func


def match_narrow_mlp(graph: Graph, var: Var, options: Options) -> Replacement | None:
    """``linear(activation(linear(x)))`` whose hidden features nobody else reads."""
    second = layer_of(graph, var)
    if second is None:
        return None
    start = _product_before(graph, second.x)
    first = layer_of(graph, start) if start is not None else None
    if start is None or first is None or not fits(second.rows, first.k, first.n, second.n, options.cpu):
        return None
    if first.n != second.k:
        return None  # the hidden features were cut otherwise
    between = follow(graph, start, first.n, -1, tensors=False)
    if not graph.origin(between.last).same_as(graph.origin(graph.behind(second.x, "relax.reshape"))):
        return None
    after = follow(graph, var, second.n, -1, tensors=False)
    rows, out_shape = second.rows, g.shape_of(after.last)
    assert out_shape is not None

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        def weight(layer: Layer, inputs_last: bool) -> Expr:
            value = new(layer.weight)
            return value if layer.transposed != inputs_last else builder.emit(relax.op.permute_dims(value))

        m: Any = rows if isinstance(rows, int) else tirx.Var("m", "int64")
        steps = tuple(between.steps), tuple(after.steps)
        function = narrow_mlp_func(m, first.k, first.n, second.n, options.cpu, *steps)
        kernel = builder.add_func(function, "_".join(["narrow_mlp", *steps[0], *steps[1]]))
        arguments = [g.reshaped(builder, new(first.x), (rows, first.k)), weight(first, inputs_last=True)]
        arguments += operands_of(builder, new, between, first.n, ())
        arguments.append(weight(second, inputs_last=False))
        arguments += operands_of(builder, new, after, second.n, ())
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType((rows, second.n), "float32")))
        return result if g.shape_of(result) == out_shape else relax.op.reshape(result, out_shape)

    flops = 2 * rows * first.n * (first.k + second.n) if isinstance(rows, int) else None
    return Replacement(after.last, emit, "narrow_mlp", flops)


def _product_before(graph: Graph, x: Expr) -> Var | None:
    """The product that `x` was before vectors were added or multiplied and an activation was applied."""
    activated = False
    while True:
        x = graph.origin(x)
        call = graph.call(x, *ACTIVATIONS, "relax.add", "relax.multiply", "relax.reshape", "relax.matmul")
        if call is None or graph.only_user(x) is None:
            return None
        if call.op.name == "relax.matmul":
            return x if activated else None
        activated = activated or call.op.name in ACTIVATIONS
        x = call.args[0]
        if call.op.name in ("relax.add", "relax.multiply") and graph.is_fixed(x):
            x = call.args[1]
