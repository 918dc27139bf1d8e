"""Linear layers: ``x[M, K] @ weight[N, K]^T`` with a weight packed once, and products of two activations.

A weight is cut into panels of as many rows as the register tile has columns, each panel transposed so that one step
of the inner loop reads one contiguous line: ``packed[panel, k, column] = weight[panel * columns + column, k]``, zero
beyond N. A task takes a block of rows of x (packed in the cache so that a step reads one line there, too) and some of
the panels; a tile's sums stay in registers over the whole of K. What a step is in bfloat16 says `operands`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu import bfloat16, emit, epilogue, operands
from sam3port.kernels.cpu.blocked import Block, emit_block, even_chunks, window_panels
from sam3port.kernels.cpu.emit import Buffer, Dim, Expr, Parameter
from sam3port.kernels.cpu.epilogue import Epilogue
from sam3port.kernels.cpu.packed_rows import pack_rows
from sam3port.kernels.cpu.register_tile import TileSums
from sam3port.kernels.cpu.schedules import ProductSchedule, linear_schedule, matmul_schedule
from sam3port.kernels.cpu.tasks import tasks
from sam3port.kernels.cpu.vector_unit import RegisterTile, VectorUnit


def packed_shape(n: int, k: int, unit: VectorUnit, schedule: ProductSchedule | None = None) -> tuple[int, int, int]:
    """Panels, words along K, columns; of `operands.weight_dtype`."""
    # What is computed from the shape does not depend on M: the weight is packed once.
    columns = (schedule or linear_schedule(None, n, unit)).vectors * unit.lanes
    return (emit.ceildiv(n, columns), operands.words(k, unit), columns)


def pack_weight(
    weight: npt.NDArray[np.float32], unit: VectorUnit, schedule: ProductSchedule | None = None
) -> npt.NDArray[Any]:
    """``weight[N, K]`` in panels, on the host. The same layout as `pack_weight_func` makes."""
    n, k = weight.shape
    panels, _, columns = packed_shape(n, k, unit, schedule)
    padded = np.zeros((panels * columns, k), dtype=np.float32)
    padded[:n] = weight
    return operands.host_words(np.ascontiguousarray(padded.reshape(panels, columns, k).transpose(0, 2, 1)), 1, unit)


def pack_weight_func(
    n: int, k: int, unit: VectorUnit, *, transposed: bool = False, schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(weight[N, K]) -> packed``; with `transposed` the weight is [K, N], as a plain matmul has it."""
    panels, words, columns = packed_shape(n, k, unit, schedule)

    def body(weight: Buffer, packed: Buffer) -> None:
        with emit.parallel(panels) as panel, emit.serial(words) as word, emit.serial(columns) as column:
            feature = panel * columns + column

            def element(step: Expr) -> Expr:
                value = weight[(step, feature) if transposed else (feature, step)]
                return tirx.if_then_else(feature < n, value, emit.constant(0.0)) if n % columns else value

            emit.store(packed, operands.weight_word(unit, k, word, element), [panel, word, column])

    shape = (k, n) if transposed else (n, k)
    kernel = emit.Kernel("pack weight", f"panels of {columns} columns")
    packed_type = ("packed", (panels, words, columns), operands.weight_dtype(unit))
    return emit.primfunc([("weight", shape), packed_type], body, kernel=kernel)


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
    tile = schedule.tile(unit.lanes, unit.step_dot)
    others = epilogue.operand_shapes(steps, n, (m, n))

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest

        def write(row: Expr, column: Expr, value: Expr, lanes: int) -> None:
            value = epilogue.apply(steps, extra, value, column, [row, column], lanes, feature_is_last=True)
            emit.store(out, value, [row, column], lanes)

        def widened(panel: Expr, step: Expr, j: Expr) -> Expr:
            return bfloat16.widen(emit.load(packed, [panel, step, j * tile.lanes], tile.lanes), tile.lanes)

        emit_product(
            m, n, k, schedule, unit,
            row=lambda i, step, lanes: emit.load(x, [i, step], lanes),
            column=lambda panel, word, j: emit.load(packed, [panel, word, j * tile.lanes], tile.lanes),
            fetch=lambda panel, word, column: packed[panel, word, column],
            write=write,
            widened=widened if unit.widens else None,
            from_memory=any(step in epilogue.EXPENSIVE_STEPS for step in steps),
        )  # fmt: skip

    packed_type = ("packed", packed_shape(n, k, unit, schedule), operands.weight_dtype(unit))
    parameters: list[Parameter] = [("x", (m, k)), packed_type, *others, ("out", (m, n))]
    kernel = emit.Kernel("linear", f"{tile}, {operands.packed_weight(unit)}", 2 * m * n * k)
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
    tile = schedule.tile(unit.lanes, unit.step_dot)
    panels, words = emit.ceildiv(n, tile.columns), operands.words(k, unit)

    def body(a: Buffer, b: Buffer, out: Buffer) -> None:
        packed = emit.scratch((batch * panels * words * tile.columns,), operands.word_dtype(unit))
        with emit.parallel(batch * panels) as task:
            item, first = task // panels, (task % panels) * tile.columns
            with emit.serial(words) as word, emit.serial(tile.columns) as column:
                feature = first + column

                def element(step: Expr, item: Expr = item, feature: Expr = feature) -> Expr:
                    value = b[item, feature, step] if transpose_b else b[item, step, feature]
                    full = isinstance(n, int) and n % tile.columns == 0
                    return value if full else tirx.if_then_else(feature < n, value, emit.constant(0.0))

                at = (task * words + word) * tile.columns + column
                emit.store(packed, operands.word(unit, k, word, element), [at])

        emit_product(
            m, n, k, schedule, unit,
            batch=batch,
            row=lambda item, i, step, lanes: emit.load(a, [item, i, step], lanes),
            column=lambda item, panel, word, j: emit.load(
                packed, [((item * panels + panel) * words + word) * tile.columns + j * tile.lanes], tile.lanes
            ),
            fetch=lambda item, panel, word, at: packed[((item * panels + panel) * words + word) * tile.columns + at],
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
    widened: Callable[[Expr, Expr, Expr], Expr] | None = None,
) -> None:
    """The loops of a product over packed columns, in parallel over blocks of rows (and groups of panels).

    With `batch` the callables get the index in the batch first.

    Args:
        row: ``(i, k, lanes) -> neighbours`` along K of the left operand, float32.
        column: ``(panel, word, j) -> vector`` of words of the right operand (see `operands`).
        fetch: ``(panel, word, column) -> element`` of the right operand in memory, see `emit_block`.
        write: ``(i, column, value, lanes)`` consumes finished values; called for valid positions only.
        from_memory: see `write_tile`.
        widened: ``(panel, k, j) -> vector`` of float32, in place of `column`: a chunk of them is made at a time, in
            the nearest cache. For a right operand that is narrower in memory; no batch.
    """
    tile = schedule.tile(unit.lanes, unit.step_dot)
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
    # Numbers are rounded while they are packed, once for all panels.
    packs_rows = block_tiles >= 4 or unit.dtype != "float32"
    count = blocks * groups if batch is None else batch * blocks * groups

    with tasks(count) as task:
        item: list[Any] = [] if batch is None else [task // (blocks * groups)]
        first_row = emit.bind(((task // groups) % blocks if batch is not None else task // groups) * block_rows)
        first_panel = emit.bind((task % groups) * group_panels)
        aligned = isinstance(m, int) and m % block_rows == 0
        strips = block_tiles if aligned else emit.bind(emit.ceildiv(tirx.min(m - first_row, block_rows), tile.rows))
        chunks = even_chunks(tile.unroll, operands.words(k, unit), schedule.chunk)

        def source(strip: Expr, i: int, step: Expr, lanes: int) -> Expr:
            return row(*item, _clamp(first_row + strip * tile.rows + i, m, block_rows), step, lanes)

        rows = pack_rows(tile, k, unit, strips, block_tiles, chunks, source) if packs_rows else None

        def element(strip: Expr, first: Expr, steps: Dim, step: Expr, i: int) -> Expr:
            if rows is not None:
                return rows[first * block_rows + (strip * steps + step) * tile.rows + i]
            return source(strip, i, first + step, 1)

        near = None if widened is None else emit.scratch((chunks.steps * tile.columns,))

        width = window_panels(tile, block_tiles, group_panels, schedule.window)
        block = Block(tile, block_tiles, emit.scratch((width * block_rows * tile.columns,)))
        own_panels = emit.minimum(group_panels, panels - first_panel)
        with emit.serial(emit.ceildiv(own_panels, width)) as window:
            left = emit.bind(first_panel + window * width)
            own = emit.bind(emit.minimum(width, own_panels - window * width))

            def vector(panel: Expr, first: Expr, step: Expr, j: int, left: Expr = left) -> Expr:
                if near is None:
                    return column(*item, left + panel, first + step, j)
                return emit.load(near, [step * tile.columns + j * tile.lanes], tile.lanes)

            def widen(panel: Expr, first: Expr, steps: Dim) -> None:
                assert widened is not None and near is not None
                with emit.serial(steps) as step:
                    for j in range(tile.vectors):
                        place = [step * tile.columns + j * tile.lanes]
                        emit.store(near, widened(panel, first + step, j), place, tile.lanes)

            emit_block(
                block, strips, own, chunks,
                row=element,
                column=vector,
                fetch=lambda panel, step, at: fetch(*item, left + panel, step, at),
                gather=None if widened is None else lambda panel, first, steps: widen(left + panel, first, steps),
                element_bytes=4 if widened is None else 2,
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
