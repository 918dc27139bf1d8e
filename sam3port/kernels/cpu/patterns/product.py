"""Products of two activations, with a batch."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from sam3port.kernels.common import graph as g
from sam3port.kernels.common.graph import Expr, Graph, Var
from sam3port.kernels.cpu.formats.policy import Kind, Site
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.replacement import Replacement
from sam3port.kernels.cpu.products import few_columns
from sam3port.kernels.cpu.products.matmul import matmul_func
from sam3port.kernels.cpu.workloads.tuned import marked
from sam3port.kernels.cpu.workloads.workload import MatmulWork


def match_product(graph: Graph, var: Var, options: Options) -> Replacement | None:
    """``matmul(a, b)`` with equal batches, or one b for all of them; b may be transposed."""
    call = graph.call(var, "relax.matmul")
    if call is None or not g.is_float32(*call.args, var):
        return None
    a, b = call.args
    a_shape, b_shape = g.shape_of(a), g.shape_of(b)
    if a_shape is None or b_shape is None or len(a_shape) < 2 or len(b_shape) < 2:
        return None
    k, n = b_shape[-2:]
    if not g.ints([k, n]) or a_shape[-1] != k:
        return None
    if len(b_shape) <= len(a_shape) and g.ints(b_shape[:-2]) and all(extent == 1 for extent in b_shape[:-2]):
        batch, m = 1, g.product(a_shape[:-1])
    elif a_shape[:-2] == b_shape[:-2] and g.ints(a_shape[:-2]):
        batch, m = g.product(a_shape[:-2]), a_shape[-2]
    else:
        return None
    site = Site(Kind.PRODUCT, m, str(call.attrs.out_dtype))
    cpu, arithmetic = options.cpu, options.arithmetic(site)
    transposed = graph.call(b, "relax.permute_dims")
    if transposed is not None and not g.swaps_last(transposed):
        transposed = None
    out_shape = g.shape_of(var)
    assert out_shape is not None
    # A single column lies as a row.
    few = few_columns.fits(n, k, cpu) and (transposed is not None or n == 1)
    static = isinstance(m, int) and not few
    precision = site.precision(options.precision)
    workload = MatmulWork(batch, m, n, k, transposed is not None, precision) if static else None
    schedule = options.tuned.product(workload, cpu)

    def emit(builder: relax.BlockBuilder, new: Any) -> Expr:
        own = m if isinstance(m, int) else tirx.Var("m", "int64")
        if few:
            function = few_columns.few_columns_func(batch, own, n, k, cpu)
        else:
            function = matmul_func(batch, own, n, k, arithmetic, transpose_b=transposed is not None, schedule=schedule)
        kernel = builder.add_func(marked(function, schedule, workload), "batched_matmul")
        along_k = few or transposed is not None
        source = new(b if transposed is None else transposed.args[0])
        right = g.reshaped(builder, source, (batch, n, k) if along_k else (batch, k, n))
        arguments = [g.reshaped(builder, new(a), (batch, m, k)), right]
        flat = (batch, m, n)
        result = builder.emit(relax.call_tir(kernel, arguments, relax.TensorType(flat, "float32")))
        return result if flat == out_shape else relax.op.reshape(result, out_shape)

    flops = 2 * batch * m * n * k if isinstance(m, int) else None
    return Replacement(var, emit, "batched_matmul", flops, workload)
