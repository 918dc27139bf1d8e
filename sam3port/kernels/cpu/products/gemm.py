"""Linear layers: ``x[M, K] @ weight[N, K]^T`` with a weight packed once.

A weight is cut into panels of as many rows as the register tile has columns, each panel transposed so that one step
of the inner loop reads one contiguous line: ``packed[panel, k, column] = weight[panel * columns + column, k]``, zero
beyond N. A task takes a block of rows of x (packed in the cache so that a step reads one line there, too) and some of
the panels; a tile's sums stay in registers over the whole of K. What a group of steps is, the format of the
operands says (`formats.format`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.common.row_order import RowOrder
from sam3port.kernels.cpu.codegen import emit, epilogue
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Parameter, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.formats.format import Arithmetic, Element
from sam3port.kernels.cpu.products.blocked import pack_panel
from sam3port.kernels.cpu.products.product import emit_product
from sam3port.kernels.cpu.products.strassen import emit_strassen
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule, linear_schedule


def packed_shape(
    n: int, k: int, arithmetic: Arithmetic, schedule: ProductSchedule | None = None
) -> tuple[int, int, int]:
    """Panels, groups along K, columns; of the type `Format.stored`."""
    # What is computed from the shape does not depend on M: the weight is packed once.
    columns = (schedule or linear_schedule(None, n, k, arithmetic)).vectors * arithmetic.cpu.lanes
    return (emit.ceildiv(n, columns), arithmetic.format.groups(k), columns)


def packed_weight(n: int, k: int, arithmetic: Arithmetic, schedule: ProductSchedule | None = None) -> list[Parameter]:
    """What a packed weight is made of: names, shapes and types of the panels, and of what lies beside them."""
    format = arithmetic.format
    panels = ("packed", packed_shape(n, k, arithmetic, schedule), format.stored)
    return [panels, *((name, (n,), dtype) for name, dtype in format.companions)]


def pack_weight(
    weight: npt.NDArray[np.float32], arithmetic: Arithmetic, schedule: ProductSchedule | None = None
) -> npt.NDArray[Any]:
    """``weight[N, K]`` in panels, on the host. The same layout as `pack_weight_func` makes."""
    n, k = weight.shape
    panels, _, columns = packed_shape(n, k, arithmetic, schedule)
    padded = np.zeros((panels * columns, k), dtype=np.float32)
    padded[:n] = weight
    return arithmetic.format.on_host(np.ascontiguousarray(padded.reshape(panels, columns, k).transpose(0, 2, 1)), 1)


def pack_weight_func(
    n: int, k: int, arithmetic: Arithmetic, *, transposed: bool = False, schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(weight[N, K]) -> packed, *companions``; with `transposed` the weight is [K, N], as a plain matmul has it."""
    panels, groups, columns = packed_shape(n, k, arithmetic, schedule)

    format = arithmetic.format

    def body(weight: Buffer, packed: Buffer, *companions: Buffer) -> None:
        def column_of(feature: Expr) -> Element:
            def element(step: Expr) -> Value:
                value = weight[(step, feature) if transposed else (feature, step)]
                return tirx.if_then_else(feature < n, value, emit.constant(0.0)) if n % columns else value

            return element

        if companions:
            with emit.parallel(n) as feature:
                for buffer, value in zip(companions, format.companions_of(k, column_of(feature)), strict=True):
                    emit.store(buffer, value, [feature])
        with emit.parallel(panels) as panel, emit.serial(groups) as group, emit.serial(columns) as column:
            feature = panel * columns + column
            beside = [buffer[tirx.min(feature, n - 1)] for buffer in companions]
            value = format.weight_group(k, group, column_of(feature), beside)
            emit.store(packed, value, [panel, group, column])

    shape = (k, n) if transposed else (n, k)
    kernel = emit.Kernel("pack weight", f"panels of {columns} columns")
    return emit.primfunc([("weight", shape), *packed_weight(n, k, arithmetic, schedule)], body, kernel=kernel)


def linear_func(
    m: Dim,
    n: int,
    k: int,
    arithmetic: Arithmetic,
    steps: Epilogue = (),
    schedule: ProductSchedule | None = None,
    *,
    read: RowOrder | None = None,
    written: RowOrder | None = None,
) -> tirx.PrimFunc:
    """``(x[M, K], packed, *companions, *operands, out[M, N])``: the product, then `steps` on each value.

    Args:
        m: rows; an int or a symbolic variable of type int64.
        steps: see `sam3port.kernels.cpu.codegen.epilogue`; vector operands are [N], tensor operands [M, N].
        schedule: computed from the shape, unless given. The weight has to be packed for it.
        read: how the rows of x are put in order before they are multiplied.
        written: how the rows of the result are put in another order; tensor operands are in that order already.
    """
    schedule = schedule or linear_schedule(m, n, k, arithmetic)
    tile = schedule.tile(arithmetic)
    others = epilogue.operand_shapes(steps, n, (m, n))
    back = None if written is None else written.inverse
    format = arithmetic.format

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        beside, extra, out = rest[: len(format.companions)], rest[len(format.companions) : -1], rest[-1]

        def write(row: Expr, column: Expr, value: Value, lanes: int) -> None:
            place = row if back is None else back.source(row)
            value = epilogue.apply(steps, extra, value, column, [place, column], lanes, feature_is_last=True)
            emit.store(out, value, [place, column], lanes)

        def right(panel: Expr, group: Expr, j: int) -> Value:
            line = emit.load(packed, [panel, group, j * tile.lanes], tile.lanes)
            return format.widened(line, tile.lanes)

        def widen(_item: Expr, panel: Expr, first: Expr, steps: Dim, near: Buffer) -> None:
            pack_panel(tile, steps, near, lambda step, j: right(panel, first + step, j))

        def left(i: Expr, step: Expr, lanes: int) -> Value:
            return emit.load(x, [i if read is None else read.source(i), step], lanes)

        def fetch(panel: Expr, group: Expr, column: Expr) -> Value:
            return packed[panel, group, column]

        from_memory = any(step in epilogue.EXPENSIVE_STEPS for step in steps)
        if schedule.halvings:
            assert isinstance(m, int)
            emit_strassen(
                m, n, k, schedule, arithmetic, row=left, column=right, fetch=fetch, write=write, from_memory=from_memory
            )
            return
        emit_product(
            m, n, k, schedule, arithmetic,
            row=lambda _item, i, step, lanes: left(i, step, lanes),
            column=lambda _item, panel, group, j: right(panel, group, j),
            fetch=lambda _item, panel, group, column: fetch(panel, group, column),
            write=lambda _item, i, column, value, lanes: write(i, column, value, lanes),
            # A single strip of rows reads a weight only once.
            gather=widen if format.widens and not (isinstance(m, int) and m <= tile.rows) else None,
            element_bytes=format.stored_bytes,
            companions=lambda at, lanes: [emit.load(buffer, [at], lanes) for buffer in beside],
            from_memory=from_memory,
        )  # fmt: skip

    weight = packed_weight(n, k, arithmetic, schedule)
    parameters: list[Parameter] = [("x", (m, k)), *weight, *others, ("out", (m, n))]
    how = f"{tile}, {format.described}{', seven products of eight' if schedule.halvings else ''}"
    kernel = emit.Kernel("linear", how, 2 * m * n * k)
    return emit.primfunc(parameters, body, kernel=kernel)
