"""A block of rows, packed in the cache in the order in which the register tile reads it, in groups of their format."""

from __future__ import annotations

from collections.abc import Callable

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.transpose import turn_rows
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import RegisterTile
from sam3port.kernels.cpu.products.blocked import Chunks

Source = Callable[[Expr, int, Expr, int], Value]
"""``(strip, i, k, lanes) -> vector`` of row i of a strip, along K, float32."""


def pack_rows(
    tile: RegisterTile, k: Dim, arithmetic: Arithmetic, strips: Dim, most_strips: int, chunks: Chunks, source: Source
) -> Buffer:
    """Groups ``[chunk, strip, group in the chunk, row of the strip]``, in memory of this thread.

    Args:
        tile: has a strip's rows.
        k: depth.
        arithmetic: its format says what groups are.
        strips: of the block, at most `most_strips`.
        chunks: of the depth in groups.
        source: the rows.
    """
    rows = tile.rows
    format = arithmetic.format
    groups = format.groups(k)
    packed = emit.scratch((most_strips * groups * rows + tile.lanes,), format.cached)
    with emit.serial(chunks.count) as chunk:
        first, steps = chunks.bound(chunk)
        # A group that zeros fill up has no neighbours to be read with.
        all_full = format.all_full(k)
        whole = steps if all_full else emit.bind(emit.minimum(steps, format.full_groups(k) - first))
        with emit.serial(strips) as strip:
            start = emit.bind(first * (most_strips * rows) + strip * steps * rows)

            def row(i: int, step: Expr, lanes: int, strip: Expr = strip, first: Expr = first) -> Value:
                return format.groups_along(first + step, lambda k, count: source(strip, i, k, count), lanes)

            def rest(strip: Expr = strip, first: Expr = first, steps: Dim = steps, start: Expr = start) -> None:
                for i in range(rows):
                    group = format.group(k, first + steps - 1, lambda k, i=i: source(strip, i, k, 1))  # type: ignore[misc]
                    emit.store(packed, group, [start + (steps - 1) * rows + i])

            turn_rows(rows, tile.lanes, whole, row, packed, start)
            if not all_full:
                emit.when(whole < steps, rest)
    return packed
