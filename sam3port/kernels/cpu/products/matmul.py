"""Products of two activations: ``a[B, M, K] @ b[B, K, N]``, both known only when the program runs."""

from __future__ import annotations

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.products.product import Column, Fetch, Gather, emit_product, gather_panel
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule, matmul_schedule


def matmul_func(
    batch: Dim,
    m: Dim,
    n: Dim,
    k: Dim,
    arithmetic: Arithmetic,
    *,
    transpose_b: bool = False,
    schedule: ProductSchedule | None = None,
) -> tirx.PrimFunc:
    """``(a[B, M, K], b[B, K, N], out[B, M, N])``, both known only at run time; with `transpose_b` b is [B, N, K].

    A plain b is gathered chunk by chunk in the nearest cache, as convolutions do it; a transposed one is packed into
    panels first, which costs little unless M is small.
    """
    schedule = schedule or matmul_schedule(m, n, arithmetic.cpu, transpose_b=transpose_b)
    tile = schedule.tile(arithmetic)
    panels, groups = emit.ceildiv(n, tile.columns), arithmetic.format.groups(k)

    def product(
        a: Buffer,
        out: Buffer,
        column: Column | None,
        fetch: Fetch,
        gather: Gather | None = None,
    ) -> None:
        emit_product(
            m, n, k, schedule, arithmetic,
            batch=batch,
            row=lambda item, i, step, lanes: emit.load(a, [item, i, step], lanes),
            column=column, fetch=fetch, gather=gather,
            write=lambda item, i, column, value, lanes: emit.store(out, value, [item, i, column], lanes),
        )  # fmt: skip

    def gathered(a: Buffer, b: Buffer, out: Buffer) -> None:
        def gather(item: Expr, panel: Expr, first: Expr, steps: Dim, near: Buffer) -> None:
            def neighbours(step: Expr, column: Expr, lanes: int) -> Value:
                return emit.load(b, [item, step, column], lanes)

            gather_panel(tile, arithmetic, (k, n), panel * tile.columns, first, steps, near, neighbours)

        product(a, out, None, lambda item, panel, group, at: b[item, group, panel * tile.columns + at], gather)

    def packed(a: Buffer, b: Buffer, out: Buffer) -> None:
        lines = emit.scratch((batch * panels * groups * tile.columns,), arithmetic.format.cached)

        def at(item: Expr, panel: Expr, group: Expr, column: Expr) -> Expr:
            return ((item * panels + panel) * groups + group) * tile.columns + column

        with emit.parallel(batch * panels) as task:
            item, panel = task // panels, task % panels
            with emit.serial(groups) as group, emit.serial(tile.columns) as column:
                feature = panel * tile.columns + column

                def element(step: Expr, item: Expr = item, feature: Expr = feature) -> Value:
                    value = b[item, feature, step]
                    full = isinstance(n, int) and n % tile.columns == 0
                    return value if full else tirx.if_then_else(feature < n, value, emit.constant(0.0))

                emit.store(lines, arithmetic.format.group(k, group, element), [at(item, panel, group, column)])

        product(
            a, out,
            column=lambda item, panel, group, j: emit.load(lines, [at(item, panel, group, j * tile.lanes)], tile.lanes),
            fetch=lambda item, panel, group, column: lines[at(item, panel, group, column)],
        )  # fmt: skip

    shape_b, body = ((batch, n, k), packed) if transpose_b else ((batch, k, n), gathered)
    how = "packed in the call" if transpose_b else "gathered in chunks"
    kernel = emit.Kernel("product", f"{tile}, right operand {how}", 2 * batch * m * n * k)
    return emit.primfunc([("a", (batch, m, k)), ("b", shape_b), ("out", (batch, m, n))], body, kernel=kernel)
