"""Products with a weight: packed once, with what follows them (bias, activation, LayerScale, residual) fused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tvm import relax, tirx
from tvm.ir.expr import GenericConst

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.common.row_order import RowOrder, row_order
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.policy import Kind, Site
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement
from sam3port.kernels.cpu.products import few_columns, gemm
from sam3port.kernels.cpu.scheduling.schedules import own_linear_schedule
from sam3port.kernels.cpu.workloads.tuned import marked
from sam3port.kernels.cpu.workloads.workload import LinearWork

ACTIVATIONS = {"relax.nn.relu": "relu", "relax.nn.gelu": "gelu", "relax.sigmoid": "sigmoid"}


@dataclass(slots=True)
class Chain:
    """Elementwise operators that follow a product, each the only reader of the one before."""

    last: Var
    """The variable that the last operator is bound to."""
    steps: list[str] = field(default_factory=list)
    """The operators as steps of an epilogue."""
    operands: list[Expr] = field(default_factory=list)
    """What the steps take beside the value, in order."""
    order: RowOrder | None = None
    """In which the rows are written, if a transpose among the operators moves them."""


def follow(
    graph: Graph, var: Var, features: int, feature_axis: int, *, tensors: bool = True, rows_move: bool = False
) -> Chain:
    """The longest chain from `var` on that an epilogue can do.

    Args:
        feature_axis: where the features are, from the end (-1 for a linear layer, -3 for NCHW).
        tensors: whether operands as large as the output may be taken along.
        rows_move: whether a transpose that leaves the features where they are may be taken along, if the result is a
            matrix of rows of features.
    """
    chain = Chain(last=var)
    current = var
    while (user := graph.only_user(current)) is not None and user not in graph.replaced:
        if graph.is_alias(user):
            current = user
            continue
        shape = g.shape_of(current)
        value = graph.definition(user)
        if shape is None or not isinstance(value, relax.Call) or not g.is_float32(user):
            break
        name = getattr(value.op, "name", "")
        if name == "relax.reshape" and feature_axis == -1:
            target = g.shape_of(user)
            if target is None or not target or target[-1] != features:
                break
            current = user  # a view; taken along only when something to fuse follows
            continue
        if name == "relax.permute_dims":
            # Operands of the whole size that came before would be in the old order.
            free = rows_move and chain.order is None and user not in graph.bypassed
            if not free or any(step.endswith("_tensor") for step in chain.steps):
                break
            chain.order = _moved_rows(graph, user, features)
            if chain.order is None:
                break
            chain.last = current = user
            continue
        if name in ACTIVATIONS and tuple(g.shape_of(user) or ()) == shape:
            chain.steps.append(ACTIVATIONS[name])
        elif name in ("relax.add", "relax.multiply"):
            left, right = value.args
            if left.same_as(right):
                break
            other = right if left.same_as(current) else left
            verb = "add" if name == "relax.add" else "multiply"
            kind = _operand_kind(other, shape, features, feature_axis)
            if kind is None or g.shape_of(user) != shape or (kind == "tensor" and not tensors):
                break
            chain.steps.append(f"{verb}_{kind}")
            chain.operands.append(other)
        else:
            break
        chain.last = current = user
    return chain


def _moved_rows(graph: Graph, var: Var, features: int) -> RowOrder | None:
    """The order of rows that the transpose `var` makes, if it is one, and of rows only."""
    call = graph.call(var, "relax.permute_dims")
    dims = g.shape_of(call.args[0]) if call is not None else None
    if call is None or dims is None or not g.ints(dims) or not dims or dims[-1] != features:
        return None
    return row_order(dims, tuple(g.transpose_axes(call)))


def _before_rows_moved(graph: Graph, x: Expr, features: int) -> tuple[Expr, RowOrder | None, frozenset[Var]]:
    """What the rows of `x` were before a transpose put them in order, that order, and the transpose."""
    moved = graph.origin(graph.behind(x, "relax.reshape"))
    order = None if moved in graph.replaced else _moved_rows(graph, moved, features)
    if order is None:
        return x, None, frozenset()
    return graph.call(moved, "relax.permute_dims").args[0], order, frozenset({moved})


def _operand_kind(other: Expr, shape: tuple[Any, ...], features: int, axis: int) -> str | None:
    dims = g.shape_of(other)
    if dims is None or not g.is_float32(other):
        return None
    if dims == shape:
        return "tensor"
    # One value for each feature: all other dimensions are 1 (or absent).
    position = len(dims) + axis
    if position >= 0 and dims[position] == features and all(d == 1 for i, d in enumerate(dims) if i != position):
        return "vector"
    return None


@dataclass(frozen=True, slots=True)
class Layer:
    """A product with a fixed weight of two dimensions."""

    x: Expr
    """The left operand, [..., K]."""
    weight: Expr
    """The right operand, of two dimensions."""
    rows: Any
    """Of x, all axes but the last; may be symbolic."""
    n: int
    """Features of the result."""
    k: int
    """Features of x."""
    transposed: bool
    """Whether the weight is [K, N], as matmul wants it, and not [N, K]."""


def layer_of(graph: Graph, var: Var) -> Layer | None:
    """``matmul(x, w)`` with w fixed and of two dimensions, transposed or not."""
    call = graph.call(var, "relax.matmul")
    if call is None:
        return None
    x, right = call.args
    weight = _plain_weight(graph, right)
    x_shape = g.shape_of(x)
    if weight is None or x_shape is None or not x_shape or not g.is_float32(x, weight, var):
        return None
    transposed = True
    turned = graph.call(weight, "relax.permute_dims")
    if turned is not None and len(g.shape_of(turned.args[0]) or ()) == 2 and g.swaps_last(turned):
        weight, transposed = turned.args[0], False
    w_shape = g.shape_of(weight)
    if w_shape is None or len(w_shape) != 2 or not g.ints(w_shape) or not graph.is_fixed(weight):
        return None
    k, n = w_shape if transposed else (w_shape[1], w_shape[0])
    if x_shape[-1] != k:
        return None
    return Layer(x, weight, g.product(x_shape[:-1]), n, k, transposed)


def match_linear(graph: Graph, var: Var, options: Options) -> Replacement | None:
    """A linear layer and what follows it."""
    layer = layer_of(graph, var)
    if layer is None:
        return None
    site = Site(Kind.LINEAR, layer.rows, str(graph.call(var, "relax.matmul").attrs.out_dtype))
    rows, n, k = layer.rows, layer.n, layer.k
    source, read, bypassed = _before_rows_moved(graph, layer.x, k)
    chain = follow(graph, var, n, -1, rows_move=isinstance(rows, int))
    found = linear_replacement(
        source, layer.weight, site, (n, k), chain, options, transposed=layer.transposed, read=read
    )
    return replace(found, bypassed=bypassed)


def linear_replacement(
    x: Expr,
    weight: Expr,
    site: Site,
    sizes: tuple[int, int],
    chain: Chain,
    options: Options,
    *,
    transposed: bool = False,
    read: RowOrder | None = None,
) -> Replacement:
    """The product of x, seen as [M, K], and a weight, seen as [N, K] ([K, N] if `transposed`), and its chain.

    Args:
        site: has the rows M of x, which may be symbolic.
        sizes: N and K.
        read: how the rows of x are put in order before.
    """
    rows, (n, k) = site.rows, sizes
    cpu, arithmetic = options.cpu, options.arithmetic(site)
    out_shape = g.shape_of(chain.last)
    assert out_shape is not None
    steps = tuple(chain.steps)
    if few_columns.fits(n, k, cpu) and read is None and chain.order is None:
        return _few_columns(x, weight, (rows, n, k), chain, cpu, transposed=transposed)
    precision = site.precision(options.precision)
    workload = LinearWork(rows, n, k, steps, precision) if isinstance(rows, int) else None
    measured = options.tuned.product(workload, cpu)
    schedule = measured or own_linear_schedule(rows, n, k, arithmetic)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        flat = (k, n) if transposed else (n, k)
        fixed = new(weight)
        if isinstance(fixed, GenericConst) and not arithmetic.format.companions:
            host = fixed.value.numpy().reshape(flat)
            packed = [relax.const(gemm.pack_weight(host.T if transposed else host, arithmetic, schedule))]
        else:
            packing = gemm.pack_weight_func(n, k, arithmetic, transposed=transposed, schedule=schedule)
            pack = builder.add_func(packing, "pack_weight")
            matrix = g.reshaped(builder, fixed, flat)
            made = gemm.packed_weight(n, k, arithmetic, schedule)
            packed = _results(builder, pack, [matrix], [relax.TensorType(shape, *dtype) for _, shape, *dtype in made])
        m: Any = rows if isinstance(rows, int) else tirx.Var("m", "int64")
        product = gemm.linear_func(m, n, k, arithmetic, steps, schedule, read=read, written=chain.order)
        function = marked(product, measured, workload)
        kernel = builder.add_func(function, "_".join(["linear", *steps]))
        arguments = [g.reshaped(builder, new(x), (rows, k)), *packed]
        arguments += operands_of(builder, new, chain, n, (rows, n))
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType((rows, n), "float32")))
        return _reshape(result, out_shape)

    flops = 2 * rows * n * k if isinstance(rows, int) else None
    return Replacement(chain.last, emit, "linear", flops, workload)


def _few_columns(
    x: Expr, weight: Expr, sizes: tuple[Any, int, int], chain: Chain, cpu: Cpu, *, transposed: bool
) -> Replacement:
    rows, n, k = sizes
    out_shape = g.shape_of(chain.last)
    assert out_shape is not None
    steps = tuple(chain.steps)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        m: Any = rows if isinstance(rows, int) else tirx.Var("m", "int64")
        columns = new(weight)
        if transposed:
            columns = builder.emit(relax.op.permute_dims(columns))
        kernel = builder.add_func(few_columns.few_columns_func(1, m, n, k, cpu, steps), "_".join(["linear", *steps]))
        flat = (1, rows, n)
        arguments = [g.reshaped(builder, new(x), (1, rows, k)), g.reshaped(builder, columns, (1, n, k))]
        arguments += operands_of(builder, new, chain, n, flat)
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(flat, "float32")))
        return _reshape(result, out_shape)

    return Replacement(chain.last, emit, "linear", 2 * rows * n * k if isinstance(rows, int) else None)


def operands_of(
    builder: relax.BlockBuilder, new: Any, chain: Chain, features: int, flat: tuple[Any, ...]
) -> list[Expr]:
    """What the chain's steps take, as a kernel reads it: [features], or `flat` for tensors."""
    steps = [step for step in chain.steps if step.endswith(("vector", "tensor"))]
    return [
        g.reshaped(builder, new(operand), (features,) if step.endswith("vector") else flat)
        for step, operand in zip(steps, chain.operands, strict=True)
    ]


def _plain_weight(graph: Graph, expr: Expr) -> Expr | None:
    """The weight of two dimensions behind a batch of copies of it, as decompositions make them."""
    shape = g.shape_of(expr)
    while shape is not None and len(shape) > 2:
        call = graph.call(expr, "relax.reshape", "relax.broadcast_to", "relax.expand_dims")
        if call is None:
            return None
        expr = call.args[0]
        inner = g.shape_of(expr)
        if inner is None or inner[-2:] != shape[-2:]:
            return None
        # A reshape of a batch that is not made of copies ends at a weight of more dimensions: None above.
        shape = inner
    return expr if shape is not None and len(shape) == 2 and graph.is_fixed(expr) else None


def _results(builder: relax.BlockBuilder, kernel: Expr, arguments: list[Expr], types: list[Any]) -> list[Expr]:
    """What a kernel computes that has results of these types."""
    if len(types) == 1:
        return [builder.emit(relax.call_tir(kernel, arguments, types[0]))]
    called = builder.emit(relax.call_tir(kernel, arguments, types))
    return [builder.emit(relax.TupleGetItem(called, index)) for index in range(len(types))]


def _reshape(value: Expr, shape: tuple[Any, ...]) -> Expr:
    return value if g.shape_of(value) == shape else relax.op.reshape(value, shape)
