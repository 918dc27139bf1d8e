"""Linear layers: ``x[M, K] @ weight[N, K]^T`` with a weight packed once, and products of two activations.

A weight is cut into panels of as many rows as the register tile has columns, each panel transposed so that one step
of the inner loop reads one contiguous line: ``packed[panel, k, column] = weight[panel * columns + column, k]``, zero
beyond N. A task takes a block of rows of x (packed in the cache so that a step reads one line there, too) and some of
the panels; a tile's sums stay in registers over the whole of K.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu import emit, epilogue
from sam3port.kernels.cpu.blocked import Block, emit_block, even_chunks, window_panels
from sam3port.kernels.cpu.emit import Buffer, Dim, Expr
from sam3port.kernels.cpu.epilogue import Epilogue
from sam3port.kernels.cpu.register_tile import TileSums
from sam3port.kernels.cpu.schedules import ProductSchedule, linear_schedule, matmul_schedule
from sam3port.kernels.cpu.tasks import tasks
from sam3port.kernels.cpu.transpose import turn_rows
from sam3port.kernels.cpu.vector_unit import RegisterTile, VectorUnit


def packed_shape(n: int, k: int, unit: VectorUnit, schedule: ProductSchedule | None = None) -> tuple[int, int, int]:
    # What is computed from the shape does not depend on M: the weight is packed once.
    columns = (schedule or linear_schedule(None, n, unit)).vectors * unit.lanes
    return (emit.ceildiv(n, columns), k, columns)


def pack_weight(
    weight: npt.NDArray[np.float32], unit: VectorUnit, schedule: ProductSchedule | None = None
) -> npt.NDArray[np.float32]:
    """``weight[N, K]`` in panels, on the host. The same layout as `pack_weight_func` makes."""
    n, k = weight.shape
    panels, _, columns = packed_shape(n, k, unit, schedule)
    padded = np.zeros((panels * columns, k), dtype=np.float32)
    padded[:n] = weight
    return np.ascontiguousarray(padded.reshape(panels, columns, k).transpose(0, 2, 1))


def pack_weight_func(
    n: int, k: int, unit: VectorUnit, *, transposed: bool = False, schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(weight[N, K]) -> packed``; with `transposed` the weight is [K, N], as a plain matmul has it."""
    panels, _, columns = packed_shape(n, k, unit, schedule)

    def body(weight: Buffer, packed: Buffer) -> None:
        with emit.parallel(panels) as panel, emit.serial(k) as step, emit.serial(columns) as column:
            feature = panel * columns + column
            index = [step, feature] if transposed else [feature, step]
            value = weight[tuple(index)]
            if n % columns:
                value = tirx.if_then_else(feature < n, value, emit.constant(0.0))
            emit.store(packed, value, [panel, step, column])

    shape = (k, n) if transposed else (n, k)
    kernel = emit.Kernel("pack weight", f"panels of {columns} columns")
    return emit.primfunc([("weight", shape), ("packed", (panels, k, columns))], body, kernel=kernel)


def linear_func(
    m: Dim, n: int, k: int, unit: VectorUnit, steps: Epilogue = (), schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(x[M, K], packed, *operands, out[M, N])``: the product, then `steps` on each value.

    Args:
        m: rows; an int or a symbolic variable of type int64.
        steps: see `sam3port.kernels.cpu.epilogue`; vector operands are [N], tensor operands [M, N].
        schedule: computed from the shape, unless given. The weight has to be packed for it.
    """
    schedule = schedule or linear_schedule(m, n, unit)
    tile = schedule.tile(unit.lanes)
    operands = epilogue.operand_shapes(steps, n, (m, n))

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest

        def write(row: Expr, column: Expr, value: Expr, lanes: int) -> None:
            value = epilogue.apply(steps, extra, value, column, [row, column], lanes, feature_is_last=True)
            emit.store(out, value, [row, column], lanes)

        emit_product(
            m, n, k, schedule, unit,
            row=lambda i, step, lanes: emit.load(x, [i, step], lanes),
            column=lambda panel, step, j: emit.load(packed, [panel, step, j * tile.lanes], tile.lanes),
            fetch=lambda panel, step, column: packed[panel, step, column],
            write=write,
            from_memory=any(step in epilogue.EXPENSIVE_STEPS for step in steps),
        )  # fmt: skip

    parameters = [("x", (m, k)), ("packed", packed_shape(n, k, unit, schedule)), *operands, ("out", (m, n))]
    kernel = emit.Kernel("linear", f"{tile}, weight packed", 2 * m * n * k)
    return emit.primfunc(parameters, body, kernel=kernel)


def matmul_func(
    batch: Dim,
    m: Dim,
    n: Dim,
    k: Dim,
    unit: VectorUnit,
    *,
    transpose_b: bool = False,
    schedule: ProductSchedule | None = None,
) -> tirx.PrimFunc:
    """``(a[B, M, K], b[B, K, N], out[B, M, N])``, both known only at run time; with `transpose_b` b is [B, N, K].

    b is packed into panels first, which costs little unless M is small.
    """
    schedule = schedule or matmul_schedule(m, n, unit)
    tile = schedule.tile(unit.lanes)
    panels = emit.ceildiv(n, tile.columns)

    def body(a: Buffer, b: Buffer, out: Buffer) -> None:
        packed = emit.scratch((batch * panels * k * tile.columns,))
        with emit.parallel(batch * panels) as task:
            item, first = task // panels, (task % panels) * tile.columns
            with emit.serial(k) as step, emit.serial(tile.columns) as column:
                feature = first + column
                value = b[item, feature, step] if transpose_b else b[item, step, feature]
                if not (isinstance(n, int) and n % tile.columns == 0):
                    value = tirx.if_then_else(feature < n, value, emit.constant(0.0))
                emit.store(packed, value, [(task * k + step) * tile.columns + column])

        emit_product(
            m, n, k, schedule, unit,
            batch=batch,
            row=lambda item, i, step, lanes: emit.load(a, [item, i, step], lanes),
            column=lambda item, panel, step, j: emit.load(
                packed, [((item * panels + panel) * k + step) * tile.columns + j * tile.lanes], tile.lanes
            ),
            fetch=lambda item, panel, step, at: packed[((item * panels + panel) * k + step) * tile.columns + at],
            write=lambda item, i, column, value, lanes: emit.store(out, value, [item, i, column], lanes),
        )  # fmt: skip

    shape_b = (batch, n, k) if transpose_b else (batch, k, n)
    kernel = emit.Kernel("product", f"{tile}, right operand packed in the call", 2 * batch * m * n * k)
    return emit.primfunc([("a", (batch, m, k)), ("b", shape_b), ("out", (batch, m, n))], body, kernel=kernel)


def emit_product(
    m: Dim,
    n: Dim,
    k: Dim,
    schedule: ProductSchedule,
    unit: VectorUnit,
    *,
    row: Callable[..., Expr],
    column: Callable[..., Expr],
    fetch: Callable[..., Expr],
    write: Callable[..., None],
    batch: Dim | None = None,
    from_memory: bool = False,
) -> None:
    """The loops of a product over packed columns, in parallel over blocks of rows (and groups of panels).

    With `batch` the callables get the index in the batch first.

    Args:
        row: ``(i, k, lanes) -> vector`` of the left operand, along k.
        column: ``(panel, k, j) -> vector`` of the right operand.
        fetch: ``(panel, k, column) -> element`` of the right operand in memory, see `emit_block`.
        write: ``(i, column, value, lanes)`` consumes finished values; called for valid positions only.
        from_memory: see `write_tile`.
    """
    tile = schedule.tile(unit.lanes)
    panels = emit.ceildiv(n, tile.columns)
    if isinstance(m, int):
        blocks = emit.ceildiv(m, schedule.block_rows)
        block_tiles = emit.ceildiv(emit.ceildiv(m, blocks), tile.rows)
    else:
        block_tiles = max(1, schedule.block_rows // tile.rows)
    block_rows = block_tiles * tile.rows
    blocks = emit.ceildiv(m, block_rows)
    groups = _panel_groups(blocks, panels, batch, unit.cores)
    group_panels = emit.ceildiv(panels, groups)
    pack_rows = block_tiles >= 4
    count = blocks * groups if batch is None else batch * blocks * groups

    with tasks(count) as task:
        item: list[Any] = [] if batch is None else [task // (blocks * groups)]
        first_row = emit.bind(((task // groups) % blocks if batch is not None else task // groups) * block_rows)
        first_panel = emit.bind((task % groups) * group_panels)
        aligned = isinstance(m, int) and m % block_rows == 0
        strips = block_tiles if aligned else emit.bind(emit.ceildiv(tirx.min(m - first_row, block_rows), tile.rows))
        chunks = even_chunks(tile.unroll, k, schedule.chunk)
        if pack_rows:
            # Chunk after chunk, as they are read.
            packed_rows = emit.scratch((block_tiles * k * tile.rows + tile.lanes,))
            with emit.serial(chunks.count) as chunk:
                first, steps = chunks.bound(chunk)
                with emit.serial(strips) as strip:
                    top = emit.bind(first_row + strip * tile.rows)
                    start = emit.bind(first * block_rows + strip * steps * tile.rows)

                    def source(i: int, step: Expr, lanes: int, top: Expr = top, first: Expr = first) -> Expr:
                        return row(*item, _clamp(top + i, m, block_rows), first + step, lanes)

                    turn_rows(tile, steps, source, packed_rows, start)

        def element(strip: Expr, first: Expr, steps: Dim, step: Expr, i: int) -> Expr:
            if pack_rows:
                return packed_rows[first * block_rows + (strip * steps + step) * tile.rows + i]
            return row(*item, _clamp(first_row + strip * tile.rows + i, m, block_rows), first + step, 1)

        width = window_panels(tile, block_tiles, group_panels, schedule.window)
        block = Block(tile, block_tiles, emit.scratch((width * block_rows * tile.columns,)))
        own_panels = emit.minimum(group_panels, panels - first_panel)
        with emit.serial(emit.ceildiv(own_panels, width)) as window:
            left = emit.bind(first_panel + window * width)
            own = emit.bind(emit.minimum(width, own_panels - window * width))
            emit_block(
                block, strips, own, chunks,
                row=element,
                column=lambda panel, first, step, j: column(*item, left + panel, first + step, j),
                fetch=lambda panel, step, at: fetch(*item, left + panel, step, at),
            )  # fmt: skip
            with emit.serial(strips) as strip, emit.serial(own) as panel:
                write_tile(
                    tile, m, n, first_row + strip * tile.rows, (left + panel) * tile.columns, block.at(strip, panel),
                    lambda i, c, value, lanes: write(*item, i, c, value, lanes), from_memory=from_memory,
                )  # fmt: skip


def _clamp(row: Expr, m: Dim, block_rows: int) -> Expr:
    """Rows beyond the last repeat it: cheaper than a branch, and their sums are never written."""
    if isinstance(m, int) and m % block_rows == 0:
        return row
    return tirx.min(row, m - 1)


def _panel_groups(blocks: Dim, panels: Dim, batch: Dim | None, cores: int) -> int:
    """Into how many tasks a block of rows is divided, so that few rows still occupy every core."""
    if not isinstance(panels, int):
        return 1
    if not emit.is_static(blocks, 1 if batch is None else batch):
        return min(panels, 4 if batch is None else 1)
    tasks = blocks * (1 if batch is None else batch)
    # Whole rounds of all cores, as even as can be.
    return min(panels, 1 if tasks >= 4 * cores else emit.ceildiv(4 * cores, tasks))


def write_tile(
    tile: RegisterTile,
    m: Dim,
    n: Dim,
    top: Expr,
    left: Expr,
    sums: TileSums,
    write: Callable[[Expr, Expr, Expr, int], None],
    *,
    from_memory: bool,
) -> None:
    """Hands the valid part of a tile of an [m, n] product to `write`.

    Args:
        from_memory: write from memory always, in loops, which keeps a long epilogue out of the registers and the
            code short. Tiles that stick out on the right are written so in any case.
    """
    lanes = tile.lanes

    def registers() -> None:
        for i in range(tile.rows):

            def write_row(i: int = i) -> None:
                for j in range(tile.vectors):
                    write(top + i, left + j * lanes, sums(i, j), lanes)

            emit.when(True if isinstance(m, int) and m % tile.rows == 0 else top + i < m, write_row)

    def memory() -> None:
        sums.to_memory()
        columns = emit.minimum(tile.columns, n - left)
        with emit.serial(emit.minimum(tile.rows, m - top)) as i:
            with emit.serial(columns // lanes) as j:
                write(
                    top + i,
                    left + j * lanes,
                    emit.load(sums.memory, [sums.start + i * tile.columns + j * lanes], lanes),
                    lanes,
                )
            if lanes > 1 and not (isinstance(n, int) and n % lanes == 0):
                with emit.serial(columns % lanes) as j:
                    column = columns - columns % lanes + j
                    write(top + i, left + column, sums.memory[sums.start + i * tile.columns + column], 1)

    if from_memory:
        memory()
        return
    full = isinstance(n, int) and n % tile.columns == 0
    emit.when(True if full else left + tile.columns <= n, registers, memory)
