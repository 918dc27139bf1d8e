"""Attention, either kept whole (``R.nn.attention``) or spelled out as matmul, softmax, matmul."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.common.heads import Layout, Part, heads_last_again, heads_last_before
from sam3port.kernels.common.slices import part_of
from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.policy import Kind, Site
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement
from sam3port.kernels.cpu.patterns.rotary import rotation_of
from sam3port.kernels.cpu.workloads.tuned import marked
from sam3port.kernels.cpu.workloads.workload import attention_work

_HEADS_FIRST = [0, 2, 1, 3]


@dataclass(slots=True)
class _Operand:
    """A query, key or value: where it is, and the shape in which the kernel reads it."""

    expr: Expr
    """The tensor that the kernel reads."""
    shape: tuple[Any, ...]
    """How it is seen: batch, heads, length and features in the order of `layout`."""
    layout: Layout
    """The order of its axes."""
    part: Part = (0, 1)
    """Which part of it the operand is."""
    bypassed: list[Var] = field(default_factory=list)
    """Transposes between what is in place and what the program reads."""


def match_attention(graph: Graph, var: Var, options: Options) -> Replacement | None:
    return _match_whole(graph, var, options) or _match_softmax(graph, var, options)


def _match_whole(graph: Graph, var: Var, options: Options) -> Replacement | None:
    call = graph.call(var, "relax.nn.attention", "relax.nn.attention_bias")
    if call is None or call.attrs.window_size is not None or not g.is_float32(*call.args):
        return None
    # R.nn.attention takes [B, L, H, D]; a transpose to that from [B, H, L, D] is left out.
    operands = []
    for expr in call.args[:3]:
        shape = g.shape_of(expr)
        if shape is None or len(shape) != 4:
            return None
        turned = graph.call(expr, "relax.permute_dims")
        if turned is not None and g.transpose_axes(turned) == _HEADS_FIRST:
            operands.append(_heads_first(graph, turned.args[0], g.shape_of(turned.args[0]) or ()))
            operands[-1].bypassed.append(graph.origin(expr))
        else:
            operands.append(_Operand(expr, shape, "BLHD"))
    table = _unrotated(graph, operands)
    operands = [_in_place(graph, operand) for operand in operands]
    batch, queries, heads, features = g.shape_of(call.args[0]) or ()
    keys = (g.shape_of(call.args[1]) or ())[1]
    value_features = (g.shape_of(call.args[2]) or ())[3]
    if not g.ints([heads, features, value_features]):
        return None
    bias = call.args[3] if len(call.args) > 3 else None
    causal = call.attrs.causal_mask
    offset = None
    if causal is not None:
        if not g.ints([queries, keys]):
            return None
        offset = 0 if str(causal) == "TopLeft" else keys - queries
    scale = call.attrs.scale
    target, layout_out = var, "BLHD"
    user = graph.only_user(var)
    if user is not None:
        turned = graph.call(user, "relax.permute_dims")
        if turned is not None and g.transpose_axes(turned) == _HEADS_FIRST and user not in graph.bypassed:
            target, layout_out = user, "BHLD"
            back = heads_last_again(graph, user, (batch, heads, queries, value_features))
            if back is not None:
                target, layout_out = back, "BLHD"
    spec = AttentionSpec(
        batch, heads, queries, keys, features, value_features,
        scale=float(scale) if scale is not None else 1.0 / math.sqrt(features),
        layouts=(operands[0].layout, operands[1].layout, operands[2].layout, layout_out),  # type: ignore[arg-type]
        parts=(operands[0].part, operands[1].part, operands[2].part),
        rotary=table is not None,
        causal_offset=offset,
        empty_rows="zero",
    )  # fmt: skip
    return _replacement(target, spec, operands, table, bias, "", options)


def _match_softmax(graph: Graph, var: Var, options: Options) -> Replacement | None:
    """``matmul(softmax(matmul(q, k^T) * scale + bias), v)``, seen from its last product."""
    last = graph.call(var, "relax.matmul")
    if last is None:
        return None
    weights, v = last.args
    weights = _skip_views(graph, weights)
    empty_rows: Literal["zero", "nan"] = "nan"
    guarded = graph.call(weights, "relax.where")
    if guarded is not None and _is_zero(graph, guarded.args[1]):
        # PyTorch's decomposition of scaled_dot_product_attention: zero where all scores are -inf.
        inner = graph.call(guarded.args[2], "relax.nn.softmax")
        if inner is None or not _asks_whether_all_hidden(graph, guarded.args[0], inner.args[0]):
            return None
        weights, empty_rows = guarded.args[2], "zero"
    softmax = graph.call(weights, "relax.nn.softmax")
    if softmax is None:
        return None
    shape = g.shape_of(softmax.args[0])
    if shape is None or len(shape) < 2 or len(shape) > 4 or int(softmax.attrs.axis) not in (-1, len(shape) - 1):
        return None
    # Someone else who reads the weights needs them anyway.
    if empty_rows == "nan" and graph.only_user(weights) is None:
        return None
    scores, scale, bias = softmax.args[0], 1.0, None
    while (call := graph.call(scores, "relax.add", "relax.multiply", "relax.divide", "relax.reshape")) is not None:
        if call.op.name == "relax.reshape":
            scores = call.args[0]
            continue
        left, right = call.args
        factor = g.scalar_constant(right)
        if call.op.name == "relax.add":
            if bias is not None or scale != 1.0:
                return None
            if g.shape_of(left) != g.shape_of(call) and g.shape_of(right) == g.shape_of(call):
                left, right = right, left
            scores, bias = left, right
            if graph.call(_first_product(graph, left), "relax.matmul") is None:
                scores, bias = right, left
        elif factor is not None:
            scale *= factor if call.op.name == "relax.multiply" else 1.0 / factor
            scores = left
        else:
            return None
    first = graph.call(scores, "relax.matmul")
    if first is None:
        return None
    q, right = first.args
    q, q_scale = _take_scale(graph, q)
    right, k_scale = _take_scale(graph, right)
    turned = graph.call(_skip_views(graph, right, keep_matrix=True), "relax.permute_dims")
    if turned is None or not g.swaps_last(turned):
        return None
    k = turned.args[0]
    inside = _take_scale(graph, k)
    k, k_scale = inside[0], k_scale * inside[1]
    q_shape, k_shape, v_shape = g.shape_of(q), g.shape_of(k), g.shape_of(v)
    if q_shape is None or k_shape is None or v_shape is None or not g.is_float32(q, k, v, var):
        return None
    batches = {g.product(dims[:-2]) for dims in (q_shape, k_shape, v_shape, shape)}
    if len(batches) != 1:
        return None
    # Three axes: what comes first may be heads, as far as anyone can see, and a number of heads must be known.
    together = (1, shape[0]) if isinstance(shape[0], int) else (shape[0], 1)
    outer = {4: shape[:2], 3: together, 2: (1, 1)}[len(shape)]
    queries, keys = shape[-2:]
    features, value_features = q_shape[-1], v_shape[-1]
    if not g.ints([outer[1], features, value_features]):
        return None
    operands = [
        _heads_first(graph, q, (*outer, queries, features)),
        _heads_first(graph, k, (*outer, keys, features)),
        _heads_first(graph, v, (*outer, keys, value_features)),
    ]
    table = _unrotated(graph, operands)
    operands = [_in_place(graph, operand) for operand in operands]
    if bias is not None:
        dims = g.shape_of(bias)
        if dims is None or not g.is_float32(bias):
            return None
        if len(shape) == 3:
            dims = (1,) * (3 - len(dims)) + dims
            dims = (1, *dims) if outer[0] == 1 else (dims[0], 1, *dims[1:])
        else:
            dims = (1,) * (4 - len(dims)) + dims
        bias = (bias, dims)
    back = heads_last_again(graph, var, (*outer, queries, value_features))
    result: Layout = "BHLD" if back is None else "BLHD"
    layouts = (operands[0].layout, operands[1].layout, operands[2].layout, result)
    spec = AttentionSpec(
        outer[0], outer[1], queries, keys, features, value_features,
        scale=scale * q_scale * k_scale, layouts=layouts, empty_rows=empty_rows, rotary=table is not None,
        parts=(operands[0].part, operands[1].part, operands[2].part),
    )  # fmt: skip
    asked = {str(product.attrs.out_dtype) for product in (first, last)}
    out_dtype = FLOAT32.precision if FLOAT32.precision in asked else ""
    return _replacement(var if back is None else back, spec, operands, table, bias, out_dtype, options)


def _heads_first(graph: Graph, expr: Expr, shape: tuple[Any, ...]) -> _Operand:
    """`expr`, seen as [B, H, L, D]; what it was before its heads were put first, where that can be seen."""
    before = heads_last_before(graph, expr, shape)
    if before is None:
        return _Operand(expr, shape, "BHLD")
    batch, heads, length, features = shape
    source, bypassed = before
    return _Operand(source, (batch, length, heads, features), "BLHD", bypassed=[bypassed])


def _unrotated(graph: Graph, operands: list[_Operand]) -> Expr | None:
    """Puts what was rotated in the place of rotated queries and keys, and returns the rotations that both have."""
    q, k, _ = operands
    rotations = [rotation_of(graph, operand.expr) for operand in (q, k)]
    if q.layout != "BHLD" or k.layout != "BHLD" or q.shape != k.shape:
        return None
    of_q, of_k = rotations
    if of_q is None or of_k is None or not of_q.table.same_as(of_k.table):
        return None
    for operand, rotation in ((q, of_q), (k, of_k)):
        if g.shape_of(rotation.before) != operand.shape:
            return None
    q.expr, k.expr = of_q.before, of_k.before
    return of_q.table


def _in_place(graph: Graph, operand: _Operand) -> _Operand:
    """The operand as a part of what one layer computed, where it is one."""
    found = part_of(graph, operand.expr, operand.layout, operand.shape)
    if found is None:
        return operand
    whole, part, bypassed = found
    batch, *lengths, features = operand.shape
    heads, length = lengths if operand.layout == "BHLD" else lengths[::-1]
    shape = (batch, length, part[1] * heads, features)
    return _Operand(whole, shape, "BLHD", part, [*operand.bypassed, bypassed])


def _replacement(
    target: Var,
    spec: AttentionSpec,
    operands: list[_Operand],
    table: Expr | None,
    bias: Any,
    out_dtype: str,
    options: Options,
) -> Replacement | None:
    if isinstance(bias, tuple):
        bias, bias_shape = bias
    elif bias is not None:
        dims = g.shape_of(bias) or ()
        bias_shape = (1,) * (4 - len(dims)) + dims
    if bias is not None:
        for dim, whole in zip(bias_shape, (spec.batch, spec.heads, spec.queries, spec.keys), strict=True):
            if not _same(dim, whole) and not (isinstance(dim, int) and dim == 1):
                return None
    site = Site(Kind.ATTENTION, spec.queries, out_dtype)
    arithmetic = options.arithmetic(site)
    out_shape = g.shape_of(target)
    assert out_shape is not None
    workload = attention_work(
        replace(spec, bias=tuple(bias_shape) if bias is not None else None), site.precision(options.precision)
    )
    schedule = options.tuned.attention(workload, options.cpu)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        # The kernel's own variables for what is not known: a PrimFunc cannot use the caller's.
        renamed: dict[Any, Any] = {}

        def own(dim: Any) -> Any:
            if isinstance(dim, int):
                return dim
            if dim not in renamed:
                renamed[dim] = tirx.Var(f"n{len(renamed)}", "int64")
            return renamed[dim]

        inner = replace(
            spec,
            batch=own(spec.batch),
            queries=own(spec.queries),
            keys=own(spec.keys),
            bias=tuple(own(dim) for dim in bias_shape) if bias is not None else None,
        )
        arguments = [g.reshaped(builder, new(operand.expr), operand.shape) for operand in operands]
        if table is not None:
            arguments.append(g.reshaped(builder, new(table), (spec.queries, spec.features)))
        if bias is not None:
            arguments.append(g.reshaped(builder, new(bias), bias_shape))
        kernel = builder.add_func(marked(attention_func(inner, arithmetic, schedule), schedule, workload), "attention")
        result_shape = (
            (spec.batch, spec.heads, spec.queries, spec.value_features)
            if spec.layouts[3] == "BHLD"
            else (spec.batch, spec.queries, spec.heads, spec.value_features)
        )
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(result_shape, "float32")))
        return result if result_shape == out_shape else relax.op.reshape(result, out_shape)

    sizes = [spec.batch, spec.heads, spec.queries, spec.keys]
    flops = 2 * g.product(sizes) * (spec.features + spec.value_features) if g.ints(sizes) else None
    bypassed = frozenset(var for operand in operands for var in operand.bypassed)
    return Replacement(target, emit, "attention", flops, workload, bypassed)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) if isinstance(a, int) or isinstance(b, int) else bool(a.same_as(b))


def _skip_views(graph: Graph, expr: Expr, *, keep_matrix: bool = False) -> Expr:
    """Behind reshapes and broadcasts that change nothing; with `keep_matrix` only while the last two axes stay."""
    while True:
        call = graph.call(expr, "relax.broadcast_to", "relax.reshape")
        if call is None:
            return expr
        inner, outer = g.shape_of(call.args[0]), g.shape_of(call)
        if inner is None or outer is None:
            return expr
        if call.op.name == "relax.broadcast_to" and inner != outer:
            return expr
        if keep_matrix and inner[-2:] != outer[-2:]:
            return expr
        expr = call.args[0]


def _first_product(graph: Graph, expr: Expr) -> Expr:
    """Behind views and scaling, where the scores of an attention should be."""
    while True:
        call = graph.call(expr, "relax.reshape", "relax.multiply", "relax.divide")
        if call is None or (call.op.name != "relax.reshape" and g.scalar_constant(call.args[1]) is None):
            return expr
        expr = call.args[0]


def _take_scale(graph: Graph, expr: Expr) -> tuple[Expr, float]:
    """`expr` without multiplications by a constant, and their product."""
    scale = 1.0
    while True:
        call = graph.call(_skip_views(graph, expr, keep_matrix=True), "relax.multiply", "relax.divide")
        factor = g.scalar_constant(call.args[1]) if call is not None else None
        if call is None or factor is None:
            return expr, scale
        scale *= factor if call.op.name == "relax.multiply" else 1.0 / factor
        expr = call.args[0]


def _is_zero(graph: Graph, expr: Expr) -> bool:
    call = graph.call(expr, "relax.full_like", "relax.full")
    if call is not None:
        return g.scalar_constant(call.args[1]) == 0.0
    return graph.call(expr, "relax.zeros", "relax.zeros_like") is not None or g.scalar_constant(expr) == 0.0


def _asks_whether_all_hidden(graph: Graph, condition: Expr, scores: Expr) -> bool:
    """``not any(not (scores == -inf))``, through the casts that an import adds."""
    expr = condition
    for names in (("relax.logical_not",), ("relax.max", "relax.any"), ("relax.logical_not",), ("relax.equal",)):
        while (cast := graph.call(expr, "relax.astype")) is not None:
            expr = cast.args[0]
        call = graph.call(expr, *names)
        if call is None:
            return False
        expr = call.args[0]
        if names == ("relax.equal",):
            return g.scalar_constant(call.args[1]) == float("-inf") and bool(expr.same_as(scores))
    return False
