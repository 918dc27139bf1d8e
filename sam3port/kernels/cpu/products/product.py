"""What all products share: the loops over blocks of rows and panels of columns, and how finished sums are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import RegisterTile, TileSums
from sam3port.kernels.cpu.products.blocked import Block, emit_block, even_chunks, window_panels
from sam3port.kernels.cpu.products.packed_rows import pack_rows
from sam3port.kernels.cpu.products.row_factors import row_factors
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule

Row = Callable[[Expr, Expr, Expr, int], Value]
"""``(item, i, k, lanes) -> vector``: neighbours along K of row i of the left operand, float32."""
Column = Callable[[Expr, Expr, Expr, int], Value]
"""``(item, panel, group, j) -> vector``: vector j of a group of a panel of the right operand."""
Fetch = Callable[[Expr, Expr, Expr, Expr], Value]
"""``(item, panel, group, column) -> element`` of the right operand in memory, see `emit_block`."""
Gather = Callable[[Expr, Expr, Expr, Dim, Buffer], None]
"""``(item, panel, first, steps, near)`` puts a chunk of a panel into ``near[step, column]``, in the nearest cache."""
Write = Callable[[Expr, Expr, Expr, Value, int], None]
"""``(item, i, column, value, lanes)`` consumes finished values of row i; called for valid positions only."""


def emit_product(
    m: Dim,
    n: Dim,
    k: Dim,
    schedule: ProductSchedule,
    arithmetic: Arithmetic,
    *,
    row: Row,
    column: Column | None,
    fetch: Fetch,
    write: Write,
    batch: Dim | None = None,
    from_memory: bool = False,
    gather: Gather | None = None,
    element_bytes: int = 4,
    companions: Callable[[Expr, int], Sequence[Value]] | None = None,
) -> None:
    """The loops of a product over packed columns, in parallel over blocks of rows (and groups of panels).

    The callables get the index in the batch as ``item``, which is 0 where there is none.

    Args:
        column: not asked where chunks are gathered.
        from_memory: see `write_tile`.
        gather: what it gathers is read in place of `column`.
        element_bytes: of what `fetch` returns.
        companions: ``(column, lanes) -> vectors`` of what the format has beside a weight (`Format.companions`).
    """
    format = arithmetic.format
    tile = schedule.tile(arithmetic)
    panels = emit.ceildiv(n, tile.columns)
    if isinstance(m, int):
        block_tiles = emit.ceildiv(emit.ceildiv(m, emit.ceildiv(m, schedule.block_rows)), tile.rows)
    else:
        block_tiles = max(1, schedule.block_rows // tile.rows)
    block_rows = block_tiles * tile.rows
    blocks = emit.ceildiv(m, block_rows)
    groups = panel_groups(blocks, panels, batch, arithmetic.cpu.cores)
    group_panels = emit.ceildiv(panels, groups)
    # Numbers are converted while they are packed, once for all panels.
    packs_rows = block_tiles >= 4 or format.converts_left
    count = blocks * groups if batch is None else batch * blocks * groups

    with arithmetic.instructions(), tasks(count) as task:
        item: Expr = 0 if batch is None else task // (blocks * groups)
        first_row = emit.bind(((task // groups) % blocks if batch is not None else task // groups) * block_rows)
        first_panel = emit.bind((task % groups) * group_panels)
        aligned = isinstance(m, int) and m % block_rows == 0
        strips = block_tiles if aligned else emit.bind(emit.ceildiv(tirx.min(m - first_row, block_rows), tile.rows))
        chunks = even_chunks(tile.unroll, format.groups(k), schedule.chunk)

        def own_row(i: Expr, step: Expr, lanes: int) -> Value:
            return row(item, clamp(first_row + i, m, block_rows), step, lanes)

        factors = row_factors(block_rows, k, tile.lanes, own_row, format.row_factors) if format.scales_rows else None

        def source(strip: Expr, i: int, step: Expr, lanes: int) -> Value:
            value = row(item, clamp(first_row + strip * tile.rows + i, m, block_rows), step, lanes)
            if factors is None:
                return value
            return value * emit.broadcast(factors.there[strip * tile.rows + i], lanes)

        def finish(i: Expr, at: Expr, sums: Value, lanes: int) -> None:
            back = None if factors is None else factors.back[i - first_row]
            beside = () if companions is None else companions(at, lanes)
            write(item, i, at, format.finished(sums, back, beside, lanes), lanes)

        rows = pack_rows(tile, k, arithmetic, strips, block_tiles, chunks, source) if packs_rows else None

        def element(strip: Expr, first: Expr, steps: Dim, step: Expr, i: int) -> Value:
            if rows is not None:
                return rows[first * block_rows + (strip * steps + step) * tile.rows + i]
            return source(strip, i, first + step, 1)

        near = None if gather is None else emit.scratch((chunks.steps * tile.columns,), format.cached)

        width = window_panels(tile, block_tiles, group_panels, schedule.window)
        block = Block(tile, block_tiles, tile.scratch(width * block_tiles))
        own_panels = emit.minimum(group_panels, panels - first_panel)
        with emit.serial(emit.ceildiv(own_panels, width)) as window:
            left = emit.bind(first_panel + window * width)
            own = emit.bind(emit.minimum(width, own_panels - window * width))

            def vector(panel: Expr, first: Expr, step: Expr, j: int, left: Expr = left) -> Value:
                if near is not None:
                    return emit.load(near, [step * tile.columns + j * tile.lanes], tile.lanes)
                assert column is not None
                return column(item, left + panel, first + step, j)

            def fill(panel: Expr, first: Expr, steps: Dim, left: Expr = left) -> None:
                assert gather is not None and near is not None
                gather(item, left + panel, first, steps, near)

            emit_block(
                block, strips, own, chunks,
                row=element,
                column=vector,
                fetch=lambda panel, step, at: fetch(item, left + panel, step, at),
                gather=None if gather is None else fill,
                element_bytes=element_bytes,
            )  # fmt: skip
            with emit.serial(strips) as strip, emit.serial(own) as panel:
                write_tile(
                    tile, m, n, first_row + strip * tile.rows, (left + panel) * tile.columns, block.at(strip, panel),
                    finish, from_memory=from_memory,
                )  # fmt: skip


def clamp(row: Expr, m: Dim, block_rows: int) -> Expr:
    """Rows beyond the last repeat it: cheaper than a branch, and their sums are never written."""
    if isinstance(m, int) and m % block_rows == 0:
        return row
    return tirx.min(row, m - 1)


def panel_groups(blocks: Dim, panels: Dim, batch: Dim | None, cores: int) -> int:
    """Into how many tasks a block of rows is divided, so that few rows still occupy every core."""
    if not isinstance(panels, int):
        return 1
    items = 1 if batch is None else batch
    if not (isinstance(blocks, int) and isinstance(items, int)):
        return min(panels, 4 if batch is None else 1)
    tasks = blocks * items
    # Whole rounds of all cores, as even as can be.
    return min(panels, 1 if tasks >= 4 * cores else emit.ceildiv(4 * cores, tasks))


def write_tile(
    tile: RegisterTile,
    m: Dim,
    n: Dim,
    top: Expr,
    left: Expr,
    sums: TileSums,
    write: Callable[[Expr, Expr, Value, int], None],
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


def gather_panel(
    tile: RegisterTile,
    arithmetic: Arithmetic,
    size: tuple[Dim, Dim],
    left: Expr,
    first: Expr,
    steps: Dim,
    near: Buffer,
    load: Callable[[Expr, Expr, int], Value],
) -> None:
    """A chunk of a panel of a right operand [K, N] that lies so: ``near[step, column]``, in groups (`formats.format`).

    Columns beyond the last repeat it: what becomes of them is never written.

    Args:
        size: K, N.
        left: the panel's first column.
        first: the chunk's first group; it has `steps`.
        load: ``(k, column, lanes) -> neighbours`` along N.
    """
    depth, columns = size
    with emit.serial(steps) as step:
        for j in range(tile.vectors):
            start, at = left + j * tile.lanes, step * tile.columns + j * tile.lanes

            def group(column: Expr, lanes: int, step: Expr = step) -> Value:
                return arithmetic.format.group(depth, first + step, lambda k: load(k, column, lanes), lanes)

            def whole(group: Callable[[Expr, int], Value] = group, start: Expr = start, at: Expr = at) -> None:
                emit.store(near, group(start, tile.lanes), [at], tile.lanes)

            def ragged(group: Callable[[Expr, int], Value] = group, start: Expr = start, at: Expr = at) -> None:
                with emit.serial(tile.lanes) as i:
                    emit.store(near, group(tirx.min(start + i, columns - 1), 1), [at + i])

            full = isinstance(columns, int) and columns % tile.columns == 0
            emit.when(True if full else start + tile.lanes <= columns, whole, ragged)
