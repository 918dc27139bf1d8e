"""What can be chosen about a kernel: tiles, blocks, chunks. The results' meaning does not depend on it.

A kernel without a schedule of its own takes the one that is computed here from the target's vector unit and the
shape. `sam3port tune` measures others (see `sam3port.tuning`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Dim
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import CHUNK, RegisterTile
from sam3port.kernels.cpu.scheduling.tiles import TileSize, tile_size, tile_size_of_few_rows

WINDOW: Final = 1 << 15
"""Sums that wait: 128 KiB, a quarter of a small second-level cache."""
_L1: Final = 32 << 10
"""Bytes of a small first-level cache. LLVM's targets do not say how large theirs is."""
_L2: Final = 384 << 10
"""Three quarters of a small second-level cache: code and what passes through need the rest."""
LONGEST_CHUNK: Final = 256
"""Steps. Longer chains of additions are less exact than the tests allow."""
_GROUP: Final = 4
"""Bytes of a group of operands in the cache, and of a sum: one lane of a register, in every format."""
_OWN_TILE_ROWS: Final = 64
"""Rows of a product up to which they choose the register tile, where its weight is packed for it alone."""


@dataclass(frozen=True, slots=True)
class ProductSchedule:
    """Of everything that is a product: linear layers, matmuls, convolutions."""

    rows: int
    """Rows of the register tile."""
    vectors: int
    """Vectors of the register tile, side by side."""
    unroll: int
    """Steps in one round of the inner loop."""
    block_rows: int
    """Rows of the left operand in one task, at most."""
    chunk: int = CHUNK
    """Steps that are summed in registers, at most; see `sam3port.kernels.cpu.products.blocked`."""
    window: int = WINDOW
    """Sums that wait in memory, at most."""
    halvings: int = 0
    """1: halved along each axis, and seven products made of eight, see `sam3port.kernels.cpu.products.strassen`."""

    def tile(self, arithmetic: Arithmetic) -> RegisterTile:
        """The register tile of these sizes."""
        kernel = arithmetic.format.micro_kernel
        return RegisterTile(self.rows, self.vectors, arithmetic.cpu.lanes, self.unroll, kernel)

    def problem(self, cpu: Cpu) -> str | None:
        """Why the target cannot be expected to be good at it; None if it can."""
        columns = self.vectors * cpu.lanes
        if not _positive(self.rows, self.vectors, self.unroll, self.block_rows, self.chunk, self.window):
            return "a size is not positive"
        if problem := _registers(self.rows, self.vectors, cpu):
            return problem
        if self.chunk > LONGEST_CHUNK:
            return f"{self.chunk} steps in one chain of additions are inexact"
        if self.chunk % self.unroll:
            return f"a chunk of {self.chunk} steps is no whole number of rounds of {self.unroll}"
        if self.chunk * columns * _GROUP > _L1:
            return f"a chunk of {self.chunk} x {columns} leaves the first-level cache"
        if self.halvings not in (0, 1):
            return f"a product is halved once or not at all, not {self.halvings} times"
        rows = self.block_rows >> self.halvings
        if (rows * self.chunk + self.window) * _GROUP > _L2:
            return f"{rows} rows of {self.chunk} steps and {self.window} sums leave the second-level cache"
        return None


@dataclass(frozen=True, slots=True)
class AttentionSchedule:
    """Of attention."""

    rows: int
    """Queries of a register tile."""
    vectors: int
    """Vectors of keys in a register tile of scores."""
    value_vectors: int
    """Vectors of value features in a register tile of results."""
    unroll: int
    """Steps in one round of the inner loops."""
    block_queries: int
    """Queries of one task, at most."""
    block_keys: int
    """Keys between two rescalings of what was summed before."""

    def problem(self, cpu: Cpu, features: int, value_features: int) -> str | None:
        """Why the target cannot be expected to be good at it; None if it can."""
        if not _positive(*(self.rows, self.vectors, self.value_vectors, self.unroll)):
            return "a size is not positive"
        if not _positive(self.block_queries, self.block_keys):
            return "a size is not positive"
        if problem := _registers(self.rows, max(self.vectors, self.value_vectors), cpu):
            return problem
        if self.block_queries < self.rows or self.block_keys < self.vectors * cpu.lanes:
            return "a block is smaller than a tile"
        keys = self.block_keys * (features + value_features)
        queries = self.block_queries * (features + value_features) + self.rows * self.block_keys
        if (keys + queries) * _GROUP > max(_L2, 2 * _GROUP * keys):
            return f"{self.block_queries} queries and {self.block_keys} keys leave the second-level cache"
        return None


Schedule = ProductSchedule | AttentionSchedule


def linear_schedule(m: Dim | None, n: int, k: int, arithmetic: Arithmetic) -> ProductSchedule:
    """96 rows of 1024 are 384 KiB, which an L2 cache holds beside a panel of the weight.

    `m` may be symbolic, or None where a weight is to be packed for any number of rows.

    Large products are halved, in larger blocks: each chunk of a weight has to be added to another for them. Chunks of
    256 steps were no faster, and less exact.
    """
    plain = _product(tile_size(arithmetic.cpu, emit.static(m), n), arithmetic.cpu, 96)
    halved = replace(plain, block_rows=432 if n * k >= 1 << 20 else 216, halvings=1)
    large = isinstance(m, int) and m >= 1024 and n >= 512 and k >= 256
    if large and arithmetic.format.micro_kernel.group > 1:
        # As fast as the multiplications are, weights on their way from the third-level cache count: fewer passes.
        return replace(plain, block_rows=216)
    return halved if large and halvable(m, n, k, halved, arithmetic) else plain


def own_linear_schedule(m: Dim, n: int, k: int, arithmetic: Arithmetic) -> ProductSchedule:
    """As `linear_schedule`, for a weight that is packed for this product alone: few rows may choose its panels.

    32 rows are four strips of 8 x 3 vectors, but six of 6 x 4, with four rows computed for nothing.
    """
    schedule = linear_schedule(m, n, k, arithmetic)
    if not isinstance(m, int) or not 1 < m <= _OWN_TILE_ROWS:
        return schedule
    tile = tile_size_of_few_rows(arithmetic.cpu, m, n)
    return replace(schedule, rows=tile.rows, vectors=tile.vectors)


def halvable(m: Dim | None, n: int, k: int, schedule: ProductSchedule, arithmetic: Arithmetic) -> bool:
    """Whether a product can be halved: sums of operands are operands, the rows are known, panels and steps even."""
    columns = schedule.vectors * arithmetic.cpu.lanes
    return arithmetic.format.exact and isinstance(m, int) and n % (2 * columns) == 0 and k % 2 == 0


def matmul_schedule(m: Dim, n: Dim, cpu: Cpu, *, transpose_b: bool = False) -> ProductSchedule:
    """A plain right operand is gathered once for each block of rows, so these are as large as convolutions'."""
    return _product(tile_size(cpu, emit.static(m), emit.static(n)), cpu, 96 if transpose_b else 256)


def convolution_schedule(rows: int, pixels: int | None, cpu: Cpu) -> ProductSchedule:
    """256 features of one block: a chunk of their weights is 128 KiB. The weights' layout must not depend on pixels."""
    return ProductSchedule(tile_size(cpu, rows, None).rows, tile_size(cpu, rows, pixels).vectors, cpu.unroll, 256)


def attention_schedule(queries: Dim, keys: Dim, value_features: int, cpu: Cpu) -> AttentionSchedule:
    """96 queries of one task: each block of keys is read once for all of them. 256 keys of one block: with 64 features,
    64 KiB of keys and 64 KiB of values, which stay in L2."""
    tile = tile_size(cpu, emit.static(queries), emit.static(keys))
    values = min(tile_size(cpu, None, None).vectors, emit.ceildiv(value_features, cpu.lanes))
    return AttentionSchedule(tile.rows, tile.vectors, values, cpu.unroll, 96, 256)


def _product(tile: TileSize, cpu: Cpu, block_rows: int) -> ProductSchedule:
    return ProductSchedule(tile.rows, tile.vectors, cpu.unroll, block_rows)


def _positive(*sizes: int) -> bool:
    return all(size > 0 for size in sizes)


def _registers(rows: int, vectors: int, cpu: Cpu) -> str | None:
    """Sums, the columns of one step and one element."""
    needed = rows * vectors + vectors + 1
    if needed > cpu.registers:
        return f"a tile of {rows} x {vectors} vectors needs {needed} registers of {cpu.registers}"
    return None
