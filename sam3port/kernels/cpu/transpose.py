"""Rows of vector registers turned into columns, without memory."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from sam3port.kernels.cpu import emit
from sam3port.kernels.cpu.emit import Expr


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
