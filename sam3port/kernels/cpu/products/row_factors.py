"""Rows of the left operand brought to a size of their own, and finished sums back to theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, expressions, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value


@dataclass(frozen=True, slots=True)
class RowFactors:
    """Two numbers for each row of a block, in memory of this thread."""

    there: Buffer
    """What a row's numbers are multiplied with before they are packed, float32[rows]."""
    back: Buffer
    """What its finished sums are multiplied with, float32[rows]."""


def row_factors(
    rows: int,
    depth: Dim,
    lanes: int,
    row: Callable[[Expr, Expr, int], Value],
    factors: Callable[[Value], tuple[Value, Value]],
) -> RowFactors:
    """Emits the factors of a block of rows.

    Args:
        rows: of the block.
        depth: steps along K.
        lanes: of the vectors in which a row is read.
        row: ``(i, k, lanes) -> neighbours`` along K of row i of the block, float32.
        factors: ``largest -> (there, back)`` for a row whose largest magnitude that is.
    """
    there, back = emit.scratch((rows,)), emit.scratch((rows,))
    with emit.serial(rows) as i:

        def size(step: Expr, count: int, i: Expr = i) -> Value:
            return expressions.magnitude(row(i, step, count), count)

        before, after = factors(lines.fold(depth, lanes, size, tirx.max, 0.0))
        emit.store(there, before, [i])
        emit.store(back, after, [i])
    return RowFactors(there, back)
