"""A block of rows, packed in the cache in the order in which the register tile reads it, and rounded on the way."""

from __future__ import annotations

from collections.abc import Callable

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr
from sam3port.kernels.cpu.codegen.transpose import turn_rows
from sam3port.kernels.cpu.formats import operands
from sam3port.kernels.cpu.formats.vector_unit import RegisterTile, VectorUnit
from sam3port.kernels.cpu.products.blocked import Chunks

Source = Callable[[Expr, int, Expr, int], Expr]
"""``(strip, i, k, lanes) -> vector`` of row i of a strip, along K, float32."""


def pack_rows(
    tile: RegisterTile, k: Dim, unit: VectorUnit, strips: Dim, most_strips: int, chunks: Chunks, source: Source
) -> Buffer:
    """Words (see `operands`) ``[chunk, strip, step in the chunk, row of the strip]``, in memory of this thread.

    Args:
        tile: has a strip's rows.
        k: depth.
        unit: says what words are.
        strips: of the block, at most `most_strips`.
        chunks: of the depth in words.
        source: the rows.
    """
    rows = tile.rows
    words = operands.words(k, unit)
    packed = emit.scratch((most_strips * words * rows + tile.lanes,), operands.word_dtype(unit))
    with emit.serial(chunks.count) as chunk:
        first, steps = chunks.bound(chunk)
        # An odd number of steps ends with half a pair, which has no neighbour to be read with.
        pairs_up = not unit.pairs or (isinstance(k, int) and k % 2 == 0)
        whole = steps if pairs_up else emit.bind(emit.minimum(steps, k // 2 - first))
        with emit.serial(strips) as strip:
            start = emit.bind(first * (most_strips * rows) + strip * steps * rows)

            def row(i: int, step: Expr, lanes: int, strip: Expr = strip, first: Expr = first) -> Expr:
                return operands.words_along(unit, first + step, lambda k, count: source(strip, i, k, count), lanes)

            def half(strip: Expr = strip, first: Expr = first, steps: Dim = steps, start: Expr = start) -> None:
                for i in range(rows):
                    word = operands.word(unit, k, first + steps - 1, lambda k, i=i: source(strip, i, k, 1))  # type: ignore[misc]
                    emit.store(packed, word, [start + (steps - 1) * rows + i])

            turn_rows(rows, tile.lanes, whole, row, packed, start)
            if not pairs_up:
                emit.when(whole < steps, half)
    return packed
