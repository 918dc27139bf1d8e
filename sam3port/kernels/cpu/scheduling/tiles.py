"""Sizes of register tiles that fit a CPU's registers and a product's shape."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from sam3port.kernels.cpu.formats.cpu import Cpu

TALLEST: Final = 14
"""Rows of a tile, at most."""
WIDEST: Final = 4
"""Vectors of a tile side by side, at most."""


class TileSize(NamedTuple):
    """How many accumulators a register tile has."""

    rows: int
    """Rows of the left operand."""
    vectors: int
    """Vectors of columns of the right operand, side by side."""


def tile_size(cpu: Cpu, rows: int | None, columns: int | None) -> TileSize:
    """The tile for a product of that many rows and columns (None: unknown, taken as many).

    Wide tiles need the fewest loads for each multiplication; few columns are not worth the padding.
    """
    vectors = widest = WIDEST if cpu.registers >= 32 else WIDEST // 2
    if columns is not None:

        def cost(count: int) -> float:
            padded = math.ceil(columns / (count * cpu.lanes)) * count * cpu.lanes
            return padded * (1 + 0.25 / count)  # a step of the inner loop loads columns once for all rows

        vectors = min(range(widest, 0, -1), key=cost)
    height = min(cpu.accumulators // vectors, TALLEST)
    if rows is not None:
        height = min(height, rows)
        # 200 rows by 6 leave 2 over; 7 of them by 4 would waste none. Prefer even shares.
        height = math.ceil(rows / math.ceil(rows / height))
    return TileSize(height, vectors)


def tile_size_of_few_rows(cpu: Cpu, rows: int, columns: int) -> TileSize:
    """The tile that wastes least: sums for nothing, and a step's loads beside its multiplications."""

    def cost(size: TileSize) -> float:
        height, vectors = size
        padded = math.ceil(rows / height) * height * math.ceil(columns / (vectors * cpu.lanes)) * vectors
        return padded * (1 + 0.5 / height + 0.25 / vectors)

    sizes = [TileSize(height, vectors) for vectors in range(1, WIDEST + 1) for height in range(1, TALLEST + 1)]
    # Beside the sums, a step's columns and one element of a row.
    fitting = [(h, v) for h, v in sizes if h * v <= cpu.accumulators and h * v + v < cpu.registers]
    return min((TileSize(*size) for size in fitting), key=cost)
