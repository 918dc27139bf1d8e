"""Large products with seven multiplications in place of eight.

Rows, columns and depth of a product are halved, which makes it eight products of an eighth of the work; by Strassen's
identities ("Gaussian elimination is not optimal", 1969) seven products of sums of quadrants are enough. They are
applied to a block of rows and a pair of panels, which lie in the cache anyway: sums of quadrants of the left operand
are formed while rows are packed, of the right operand while a chunk is fetched into the nearest cache, and a product
is added to all quadrants that it is part of when it leaves the registers (as Huang, Smith, Henry and van de Geijn do,
"Strassen's algorithm reloaded", 2016). No memory is needed beyond the sums of rows, and weights are packed as ever.

It costs digits: sums of two quadrants have to be subtracted from each other again. And it mixes row i with the row
half a block further on, and a column with its neighbour in the next panel: rows are therefore brought to one size by
powers of two, which loses nothing ("Improving the numerical stability of fast matrix multiplication", Ballard et al.,
2016). A NaN or an infinity spoils both rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, expressions
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.codegen.transpose import turn_rows
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import RegisterTile, sum_steps
from sam3port.kernels.cpu.products.blocked import Block, Chunks, Prefetch, even_chunks, pack_panel, window_panels
from sam3port.kernels.cpu.products.packed_rows import Source, pack_rows
from sam3port.kernels.cpu.products.product import clamp, panel_groups, write_tile
from sam3port.kernels.cpu.products.row_factors import row_factors
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule


@dataclass(frozen=True, slots=True)
class _Part:
    """A quadrant, by its half of each axis, and the sign that it has in a sum."""

    first: int
    """Which half of the first axis it is in, 0 or 1."""
    second: int
    """Which half of the second axis it is in, 0 or 1."""
    sign: int = 1
    """1 where the sum has it, -1 where it is subtracted."""


@dataclass(frozen=True, slots=True)
class _Product:
    """One of the seven."""

    left: tuple[_Part, ...]
    """Quadrants of the left operand, by rows and depth."""
    right: tuple[_Part, ...]
    """Quadrants of the right operand, by depth and columns."""
    targets: tuple[_Part, ...]
    """Quadrants of the result, by rows and columns, that the product is a part of."""


_PRODUCTS: Final = (
    _Product((_Part(0, 0), _Part(1, 1)), (_Part(0, 0), _Part(1, 1)), (_Part(0, 0), _Part(1, 1))),
    _Product((_Part(1, 0), _Part(1, 1)), (_Part(0, 0),), (_Part(1, 0), _Part(1, 1, -1))),
    _Product((_Part(0, 0),), (_Part(0, 1), _Part(1, 1, -1)), (_Part(0, 1), _Part(1, 1))),
    _Product((_Part(1, 1),), (_Part(1, 0), _Part(0, 0, -1)), (_Part(0, 0), _Part(1, 0))),
    _Product((_Part(0, 0), _Part(0, 1)), (_Part(1, 1),), (_Part(0, 0, -1), _Part(0, 1))),
    _Product((_Part(1, 0), _Part(0, 0, -1)), (_Part(0, 0), _Part(0, 1)), (_Part(1, 1),)),
    _Product((_Part(0, 1), _Part(1, 1, -1)), (_Part(1, 0), _Part(1, 1)), (_Part(0, 0),)),
)

_KEPT: Final = 1 << 20
"""Sums of rows that are packed all at once, 4 MiB. Where they are more, each chunk is packed when it is needed, and
then all columns of a task wait for the last chunk."""
_WAIT: Final = 16
"""Windows that they may take: what is packed again for each task should serve many columns."""


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How the work is cut."""

    tile: RegisterTile
    """The register tile."""
    half: int
    """Strips in half a block of rows."""
    blocks: int
    """Blocks of rows."""
    groups: int
    """Groups of panels: a task is one block and one group."""
    group_panels: int
    """Panels of a group, an even number."""
    window_panels: int
    """Panels whose sums wait in memory at a time, an even number."""
    chunks: Chunks
    """How half the depth is cut."""
    keeps_rows: bool
    """Whether sums of rows are packed all at once, see `_KEPT`."""

    @property
    def block_rows(self) -> int:
        return 2 * self.half * self.tile.rows


def _sizes(m: int, n: int, k: int, schedule: ProductSchedule, arithmetic: Arithmetic) -> _Sizes:
    tile = schedule.tile(arithmetic)
    panels = n // tile.columns
    half = emit.ceildiv(emit.ceildiv(m, emit.ceildiv(m, schedule.block_rows)), 2 * tile.rows)
    blocks = emit.ceildiv(m, 2 * half * tile.rows)
    keeps_rows = len(_PRODUCTS) * half * tile.rows * (k // 2) <= _KEPT
    wait = schedule.window if keeps_rows else _WAIT * schedule.window
    window = max(2, window_panels(tile, 2 * half, panels, wait) // 2 * 2)
    groups = panel_groups(blocks, panels // 2, None, arithmetic.cpu.cores)
    groups = groups if keeps_rows else max(groups, emit.ceildiv(panels, window))
    group_panels = 2 * emit.ceildiv(panels // 2, groups)
    return _Sizes(
        tile,
        half,
        blocks,
        emit.ceildiv(panels, group_panels),
        group_panels,
        min(window, group_panels),
        even_chunks(tile.unroll, k // 2, schedule.chunk),
        keeps_rows,
    )


def emit_strassen(
    m: int,
    n: int,
    k: int,
    schedule: ProductSchedule,
    arithmetic: Arithmetic,
    *,
    row: Callable[[Expr, Expr, int], Value],
    column: Callable[[Expr, Expr, int], Value],
    fetch: Callable[[Expr, Expr, Expr], Value],
    write: Callable[[Expr, Expr, Value, int], None],
    from_memory: bool = False,
) -> None:
    """As `emit_product`, in float32, for an even number of panels and an even depth."""
    sizes = _sizes(m, n, k, schedule, arithmetic)
    tile, half, panels = sizes.tile, sizes.half, n // sizes.tile.columns

    with tasks(sizes.blocks * sizes.groups) as task:
        first_row = emit.bind(task // sizes.groups * sizes.block_rows)
        first_panel = emit.bind(task % sizes.groups * sizes.group_panels)

        def own_row(i: Expr, step: Expr, lanes: int) -> Value:
            return row(clamp(first_row + i, m, sizes.block_rows), step, lanes)

        factors = row_factors(sizes.block_rows, k, tile.lanes, own_row, _powers_of_two)

        def scaled_row(i: Expr, step: Expr, lanes: int) -> Value:
            return own_row(i, step, lanes) * emit.broadcast(factors.there[i], lanes)

        work = _Work(sizes, k // 2, arithmetic, scaled_row, column, fetch)
        own_panels = emit.minimum(sizes.group_panels, panels - first_panel)
        with emit.serial(emit.ceildiv(own_panels, sizes.window_panels)) as window:
            left = emit.bind(first_panel + window * sizes.window_panels)
            own = emit.bind(emit.minimum(sizes.window_panels, own_panels - window * sizes.window_panels))
            work.sum_window(left, own)

            def restored(i: Expr, at: Expr, value: Value, lanes: int) -> None:
                write(i, at, value * emit.broadcast(factors.back[i - first_row], lanes), lanes)

            strips = emit.minimum(2 * half, emit.ceildiv(m - first_row, tile.rows))
            with emit.serial(strips) as strip, emit.serial(own) as panel:
                write_tile(
                    tile, m, n, first_row + strip * tile.rows, (left + panel) * tile.columns,
                    work.block.at(strip, panel), restored, from_memory=from_memory,
                )  # fmt: skip


class _Work:
    """Emits what one task sums up."""

    def __init__(
        self,
        sizes: _Sizes,
        depth: int,
        arithmetic: Arithmetic,
        row: Callable[[Expr, Expr, int], Value],
        column: Callable[[Expr, Expr, int], Value],
        fetch: Callable[[Expr, Expr, Expr], Value],
    ) -> None:
        """
        Args:
            depth: of a half.
            row: of the task's block, from 0 on. The others as in `emit_product`.
        """
        self.sizes, self.depth, self.arithmetic = sizes, depth, arithmetic
        self.row, self.column, self.fetch = row, column, fetch
        tile, steps = sizes.tile, sizes.chunks.steps
        self.near = emit.scratch((steps * tile.columns,))
        self.block = Block(tile, 2 * sizes.half, tile.scratch(sizes.window_panels * 2 * sizes.half))
        self.kept = [self._all_rows(product) for product in _PRODUCTS] if sizes.keeps_rows else []
        self.current = None if self.kept else emit.scratch((sizes.half * tile.rows * steps + tile.lanes,))

    def sum_window(self, left: Expr, panels: Expr) -> None:
        """The sums of all rows of the block and `panels` panels from `left` on, into ``self.block``."""
        tile, chunks = self.sizes.tile, self.sizes.chunks
        with emit.serial(panels * (self.sizes.block_rows * tile.vectors)) as line:
            emit.store(self.block.sums, emit.constant(0.0, tile.lanes), [line * tile.lanes], tile.lanes)
        with emit.serial(chunks.count) as chunk:
            first, steps = chunks.bound(chunk)
            for number, product in enumerate(_PRODUCTS):
                if self.current is None:
                    rows, begin = self.kept[number], first * (self.sizes.half * tile.rows)
                else:
                    self._chunk_of_rows(product, first, steps, self.current)
                    rows, begin = self.current, 0
                with emit.serial(panels // 2) as pair:
                    self._product(product, rows, begin, left + 2 * pair, 2 * pair, first, steps)

    def _product(
        self, product: _Product, rows: Buffer, begin: Expr, left: Expr, place: Expr, first: Expr, steps: Dim
    ) -> None:
        """One chunk of one product for a pair of panels, `place` in the window, added to where it belongs."""
        tile, half = self.sizes.tile, self.sizes.half

        def vector(part: _Part, step: Expr, j: int) -> Value:
            return self.column(left + part.second, part.first * self.depth + first + step, j)

        gathered = len(product.right) > 1
        if gathered:
            pack_panel(
                tile, steps, self.near, lambda step, j: _signed(product.right, lambda part: vector(part, step, j))
            )

        def columns(step: Expr, j: int) -> Value:
            if gathered:
                return emit.load(self.near, [step * tile.columns + j * tile.lanes], tile.lanes)
            return vector(product.right[0], step, j)

        def ask(step: Expr, at: Expr) -> None:
            for part in product.right:
                emit.prefetch(self.fetch(left + 2 + part.second, part.first * self.depth + first + step, at))

        with emit.serial(half) as strip:
            Prefetch(tile.columns, self.sizes.chunks.steps, half).at_once(strip, ask)
            line = emit.bind(begin + strip * steps * tile.rows)
            accumulators = sum_steps(tile, 0, steps, lambda step, i: rows[line + step * tile.rows + i], columns)
            for part in product.targets:
                self.block.at(strip + part.first * half, place + part.second).add(accumulators, part.sign)

    def _source(self, product: _Product, first: Expr) -> Source:
        """Sums of rows, from step `first` of each half on."""
        tile, half = self.sizes.tile, self.sizes.half

        def element(strip: Expr, i: int, step: Expr, lanes: int) -> Value:
            def one(part: _Part) -> Value:
                at = (strip + part.first * half) * tile.rows + i
                return self.row(at, part.second * self.depth + first + step, lanes)

            return _signed(product.left, one)

        return element

    def _all_rows(self, product: _Product) -> Buffer:
        half = self.sizes.half
        source = self._source(product, 0)
        return pack_rows(self.sizes.tile, self.depth, self.arithmetic, half, half, self.sizes.chunks, source)

    def _chunk_of_rows(self, product: _Product, first: Expr, steps: Dim, packed: Buffer) -> None:
        tile, source = self.sizes.tile, self._source(product, first)
        with emit.serial(self.sizes.half) as strip:

            def row(i: int, step: Expr, lanes: int, strip: Expr = strip) -> Value:
                return source(strip, i, step, lanes)

            turn_rows(tile.rows, tile.lanes, steps, row, packed, emit.bind(strip * steps * tile.rows))


def _powers_of_two(largest: Value) -> tuple[Value, Value]:
    """What brings the largest number of a row to between 1 and 2, and back again."""
    # Neither this power nor its inverse may be 0 or infinite.
    exponent = tirx.shift_right(tirx.reinterpret("int32", largest), tirx.IntImm("int32", 23))
    power = emit.bind(tirx.min(tirx.max(exponent, 1), 253) - 127)
    # A row of zeros stays one, whatever is left of the row that it was mixed with.
    nothing = largest == emit.constant(0.0)
    return expressions.two_to(-power, 1), tirx.Select(nothing, emit.constant(0.0), expressions.two_to(power, 1))


def _signed(parts: tuple[_Part, ...], one: Callable[[_Part], Value]) -> Value:
    first, *others = parts
    total = one(first)
    for part in others:
        total = total + one(part) if part.sign > 0 else total - one(part)
    return total
