"""Rows of vector registers turned into columns, without memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value


def transposed(rows: Sequence[Expr]) -> list[Expr]:
    """As many vectors as a vector has lanes (a power of two): element j of result i is element i of row j.

    Blocks of half the size change places, then blocks of a quarter in each, down to single elements.
    """
    vectors, lanes = list(rows), len(rows)
    size = lanes // 2
    while size:
        low = [j if not j & size else lanes + j - size for j in range(lanes)]
        high = [j + size if not j & size else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & size:
                pair = [vectors[i], vectors[i + size]]
                vectors[i] = emit.bind(tirx.Shuffle(pair, low))
                vectors[i + size] = emit.bind(tirx.Shuffle(pair, high))
        size //= 2
    return vectors


def turn_rows(
    rows: int, lanes: int, steps: Dim, row: Callable[[int, Expr, int], Value], out: Buffer, start: Expr
) -> None:
    """Emits ``out[start + step * rows + i] = row(i, step)`` for ``i < rows``, by vectors of `lanes`.

    Whole vectors are written, also where there are fewer rows: up to a vector behind the last element is overwritten
    with anything. What lies there must be written afterwards.

    Args:
        row: ``(i, step, lanes) -> vector`` along the steps.
        out: has at least `lanes` elements behind the last one.
    """
    width = min(lanes, 1 << (rows - 1).bit_length())
    if width > 1:
        with emit.serial(steps // width) as block:
            # From below: a group's surplus falls on the next step's first rows, which come later.
            for top in reversed(range(0, rows, width)):
                own = [emit.bind(row(i, block * width, width)) for i in range(top, min(top + width, rows))]
                for step, column in enumerate(transposed(own + [own[-1]] * (width - len(own)))):
                    emit.store(out, column, [start + (block * width + step) * rows + top], width)
    done = steps // width * width if width > 1 else 0
    with emit.serial(steps - done) as rest:
        for i in range(rows):
            emit.store(out, row(i, done + rest, 1), [start + (done + rest) * rows + i])
