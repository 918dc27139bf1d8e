"""The loops of a product around the register tile: what is read again and again stays in the nearest cache.

A block of rows and a window of panels of columns are summed over K in chunks. A chunk of one panel (8 KiB) stays in
the first-level cache while all strips of rows pass by, a chunk of all rows in the second-level cache while all panels
pass by; the next panel's chunk is asked for meanwhile. The finished sums wait in a scratch of limited size. (How long
a chunk is and how large the scratch, a `ProductSchedule` says.)
(The order of loops is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.formats.register_tile import CHUNK, Accumulators, RegisterTile, TileSums, sum_steps
from sam3port.kernels.cpu.scheduling.schedules import WINDOW


@dataclass(frozen=True, slots=True)
class Block:
    """A block of sums in memory: tile after tile, the strips of a panel one after the other."""

    tile: RegisterTile
    """The register tile that the block is made of."""
    strips: int
    """Strips of rows that the block has at most; a strip is as high as a tile."""
    sums: Buffer
    """Memory for the sums of all tiles."""
    first_panel: Expr = 0
    """Where the block begins in `sums`, in panels."""

    def at(self, strip: Expr, panel: Expr) -> TileSums:
        """The sums of one tile."""
        start = ((self.first_panel + panel) * self.strips + strip) * self.tile.rows * self.tile.columns
        return TileSums.stored(self.tile, self.sums, start)


def window_panels(tile: RegisterTile, strips: int, panels: Dim, window: int = WINDOW) -> int:
    """How many panels a window of that many sums has."""
    most = max(1, window // (strips * tile.rows * tile.columns))
    return min(most, panels) if isinstance(panels, int) else most


@dataclass(frozen=True, slots=True)
class Chunks:
    """How the steps of a product are cut: pieces of at most `steps` steps, each with its first one and its length."""

    count: Dim
    """How many pieces there are."""
    steps: int
    """Steps of a piece, at most; a step is one group along K."""
    bounds: Callable[[Expr], tuple[Expr, Dim]]
    """``chunk -> (first step, steps)``, for numbers as for expressions."""

    def known(self) -> list[tuple[int, int]]:
        """The bounds of all, where the depth is known."""
        assert isinstance(self.count, int)
        found = [self.bounds(chunk) for chunk in range(self.count)]
        return [(first, steps) for first, steps in found if isinstance(first, int) and isinstance(steps, int)]

    def bound(self, chunk: Expr) -> tuple[Expr, Dim]:
        """The bounds of one, computed here and once."""
        first, steps = self.bounds(chunk)
        return emit.bind(first), emit.bind(steps)


def even_chunks(unroll: int, depth: Dim, longest: int = CHUNK) -> Chunks:
    """Even shares of `depth`, in whole rounds of the unrolled loop."""
    steps = longest
    if isinstance(depth, int):
        share = -(-depth // -(-depth // longest))
        steps = depth if depth <= longest else -(-share // unroll) * unroll

    def bounds(chunk: Expr) -> tuple[Expr, Dim]:
        if isinstance(depth, int) and depth == steps:
            return 0, depth
        even = isinstance(depth, int) and depth % steps == 0
        return chunk * steps, steps if even else emit.minimum(steps, depth - chunk * steps)

    return Chunks(emit.ceildiv(depth, steps), steps, bounds)


def emit_block(
    block: Block,
    strips: Dim,
    panels: Dim,
    chunks: Chunks,
    *,
    row: Callable[[Expr, Expr, Dim, Expr, int], Value],
    column: Callable[[Expr, Expr, Expr, int], Value],
    fetch: Callable[[Expr, Expr, Expr], Value] | None = None,
    gather: Callable[[Expr, Expr, Dim], None] | None = None,
    gather_rows: Callable[[Expr, Dim], None] | None = None,
    element_bytes: int = 4,
) -> None:
    """Emits ``sums[strip, panel][i, j] = sum over k of row(strip, k, i) * column(panel, k, j)``.

    Args:
        strips: of the block, at most ``block.strips``; panels: of the window.
        row: ``(strip, first, steps, step, i) -> scalar`` of row i at ``k = first + step``, in a chunk of `steps`.
        column: ``(panel, first, step, j) -> vector`` j at ``k = first + step``.
        fetch: ``(panel, k, column) -> element`` in memory, for the asking ahead; the panel may be the one after the
            last (an address is computed, nothing is read).
        gather: ``(panel, first, steps)`` puts a panel's chunk where `column` finds it, before the strips read it.
        gather_rows: ``(first, steps)`` puts a chunk of all strips where `row` finds it, before the panels pass.
        element_bytes: of what `fetch` returns.
    """
    with contextlib.ExitStack() as loops:
        chunk = loops.enter_context(emit.serial(chunks.count))
        first, count = chunks.bound(chunk)
        if gather_rows is not None:
            gather_rows(first, count)
        panel = loops.enter_context(emit.serial(panels))
        if gather is not None:
            gather(panel, first, count)
        with emit.serial(strips) as strip:
            interleaved = None
            if fetch is not None:

                def ask(
                    step: Expr,
                    at: Expr,
                    fetch: Callable[[Expr, Expr, Expr], Value] = fetch,
                    panel: Expr = panel,
                    first: Expr = first,
                ) -> None:
                    emit.prefetch(fetch(panel + 1, first + step, at))

                prefetch = Prefetch(block.tile.columns, chunks.steps, block.strips, element_bytes)
                interleaved = prefetch.interleaved(block.tile.unroll, strip, ask)
                if interleaved is None:
                    prefetch.at_once(strip, ask)

            def left(step: Expr, i: int, strip: Expr = strip, first: Expr = first, count: Dim = count) -> Value:
                return row(strip, first, count, step, i)

            def right(step: Expr, j: int, panel: Expr = panel, first: Expr = first) -> Value:
                return column(panel, first, step, j)

            accumulators = sum_steps(block.tile, 0, count, left, right, interleaved)
            place = block.at(strip, panel)

            def store(place: TileSums = place, accumulators: Accumulators = accumulators) -> None:
                place.store(accumulators)

            def add(place: TileSums = place, accumulators: Accumulators = accumulators) -> None:
                place.add(accumulators)

            emit.when(True if chunks.count == 1 else chunk == 0, store, add)


@dataclass(frozen=True, slots=True)
class Prefetch:
    """How the strips of a block ask for the next chunk of a panel, each for its share."""

    columns: int
    """Columns of a panel."""
    steps: int
    """Steps of a chunk."""
    strips: int
    """Strips that share the work."""
    element_bytes: int = 4
    """Bytes of an element of the panel in memory."""

    @property
    def elements(self) -> int:
        """Of a cache line."""
        return emit.CACHE_LINE // self.element_bytes

    @property
    def lines(self) -> int:
        """Cache lines of a strip's share."""
        lines: int = emit.ceildiv(emit.ceildiv(self.steps * self.columns, self.elements), self.strips)
        return lines

    def at_once(self, strip: Expr, ask: Callable[[Expr, Expr], None]) -> None:
        """Before the strip's sums.

        Args:
            ask: ``(step, column)`` of the element whose cache line is wanted.
        """
        with emit.serial(self.lines) as line:
            self._ask((strip * self.lines + line) * self.elements, ask)

    def interleaved(self, unroll: int, strip: Expr, ask: Callable[[Expr, Expr], None]) -> Callable[[Expr], None] | None:
        """For `sum_steps`: a few in each round, where there are so many that they would wait for each other.

        Few rows have few strips: a core asks for about 24 lines at a time, and stands still when asked for more.
        """
        rounds = self.steps // unroll
        if not rounds or self.lines < rounds:
            return None
        each = emit.ceildiv(self.lines, rounds)

        def in_round(number: Expr) -> None:
            for line in range(each):
                self._ask(((strip * rounds + number) * each + line) * self.elements, ask)

        return in_round

    def _ask(self, at: Expr, ask: Callable[[Expr, Expr], None]) -> None:
        ask(at // self.columns, at % self.columns)


def pack_panel(tile: RegisterTile, steps: Dim, near: Buffer, value: Callable[[Expr, int], Value]) -> None:
    """A panel's chunk into the nearest cache: ``near[step, column]``, from ``(step, j) -> vector``."""
    with emit.serial(steps) as step:
        for j in range(tile.vectors):
            emit.store(near, value(step, j), [step * tile.columns + j * tile.lanes], tile.lanes)
