"""The inner loop of every product: a tile of sums in registers, one outer product for each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.formats.micro_kernel import MicroKernel

CHUNK: Final = 128
"""Steps summed in one go. One chain of 4736 float32 additions is four times less exact than BLAS on average (nine
times at worst); sums of sums over 128 are a little more exact than BLAS, and cost one percent of the time."""


@dataclass(frozen=True, slots=True)
class RegisterTile:
    """The block of a product whose sums are held in registers while the whole of K runs by."""

    rows: int
    """Rows of the left operand."""
    vectors: int
    """Vectors of columns of the right operand, side by side."""
    lanes: int
    """Columns in one vector of the right operand."""
    unroll: int
    """Groups along K in one round of the loop."""
    micro_kernel: MicroKernel
    """What is done with one group of each row and column."""

    @property
    def columns(self) -> int:
        """Columns of the right operand."""
        return self.vectors * self.lanes

    def scratch(self, tiles: Dim) -> Buffer:
        """Memory for the sums of so many tiles, see `emit.scratch`."""
        return emit.scratch((tiles * self.rows * self.columns,), self.micro_kernel.sums)

    def zero(self) -> Value:
        """A vector of accumulators that have seen nothing."""
        return emit.zero(self.micro_kernel.sums, self.lanes)

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns} in registers of {self.lanes}{self.micro_kernel}"


Accumulators = Callable[[int, int], Value]
"""``(i, j)``: vector j of row i, in registers."""


@dataclass(frozen=True, slots=True)
class TileSums:
    """The sums of a tile: in registers, or already in memory."""

    tile: RegisterTile
    """The tile whose sums they are."""
    memory: Buffer
    """Memory with rows * columns numbers for them from `start` on, row by row; the place that they are spilled to."""
    start: Expr
    """Where they begin in the memory."""
    accumulators: Accumulators | None
    """The accumulators in registers; None where the memory has the sums already."""

    @staticmethod
    def stored(tile: RegisterTile, memory: Buffer, start: Expr = 0) -> TileSums:
        """Sums that are, or will be, in memory."""
        return TileSums(tile, memory, start, None)

    def __call__(self, i: int, j: int) -> Value:
        """The vector j of row i."""
        if self.accumulators is not None:
            return self.accumulators(i, j)
        return emit.load(self.memory, [self._at(i, j)], self.tile.lanes)

    def to_memory(self) -> None:
        """Makes sure that the memory has them."""
        if self.accumulators is not None:
            self.store(self.accumulators)

    def store(self, accumulators: Accumulators) -> None:
        """Puts sums into the memory."""
        each_vector(
            self.tile, lambda i, j: emit.store(self.memory, accumulators(i, j), [self._at(i, j)], self.tile.lanes)
        )

    def add(self, accumulators: Accumulators, sign: int = 1) -> None:
        """Adds to the sums in memory; with sign -1, subtracts from them."""

        def one(i: int, j: int) -> None:
            before = emit.load(self.memory, [self._at(i, j)], self.tile.lanes)
            value = before + accumulators(i, j) if sign > 0 else before - accumulators(i, j)
            emit.store(self.memory, value, [self._at(i, j)], self.tile.lanes)

        each_vector(self.tile, one)

    def _at(self, i: int, j: int) -> Expr:
        return self.start + (i * self.tile.vectors + j) * self.tile.lanes


def each_vector(tile: RegisterTile, action: Callable[[int, int], None]) -> None:
    for i in range(tile.rows):
        for j in range(tile.vectors):
            action(i, j)


def sum_steps(
    tile: RegisterTile,
    first: Expr,
    count: Dim,
    row: Callable[[Expr, int], Value],
    column: Callable[[Expr, int], Value],
    interleaved: Callable[[Expr], None] | None = None,
) -> Accumulators:
    """Emits the sums of ``row(k, i) * column(k, j)`` over `count` steps k from `first` on, kept in registers.

    A step is one group (see `formats.format`) of each row and each column. In each round of the unrolled loop
    `interleaved` may emit something of its own; it gets the round's number.
    """
    lanes, kernel = tile.lanes, tile.micro_kernel
    # One array for each row: an array over 1 KiB would leave the stack, and with it the registers.
    sums = [emit.scratch((tile.columns,), kernel.sums) for _ in range(tile.rows)]
    zero = tile.zero()

    def accumulators(i: int, j: int) -> Value:
        return emit.load(sums[i], [j * lanes], lanes)

    def one(k: Expr) -> None:
        columns = [emit.bind(column(k, j)) for j in range(tile.vectors)]
        for i in range(tile.rows):
            element = emit.bind(emit.broadcast(row(k, i), lanes))
            for j in range(tile.vectors):
                value = kernel.multiply_add(accumulators(i, j), element, columns[j], lanes)
                emit.store(sums[i], value, [j * lanes], lanes)

    each_vector(tile, lambda i, j: emit.store(sums[i], zero, [j * lanes], lanes))
    rounds = count // tile.unroll
    with kernel.imported(lanes):
        if not (isinstance(count, int) and rounds == 0):
            with emit.serial(rounds) as step:
                if interleaved is not None:
                    interleaved(step)
                for u in range(tile.unroll):
                    one(first + step * tile.unroll + u)
        if not (isinstance(count, int) and count % tile.unroll == 0):
            with emit.serial(count % tile.unroll) as step:
                one(first + rounds * tile.unroll + step)
    return accumulators


def accumulate(
    tile: RegisterTile,
    depth: Dim,
    row: Callable[[Expr, int], Value],
    column: Callable[[Expr, int], Value],
    spill: Buffer,
    at_most: int | None = None,
) -> TileSums:
    """Emits ``sum[i, j] = sum over k of row(k, i) * column(k, j)`` for one tile.

    Args:
        depth: number of steps k.
        row: the scalar of row i at step k; column: the vector (``tile.lanes``) of vector column j at step k.
        spill: rows * columns floats of scratch memory.
        at_most: bound of a depth that is not known.
    """
    bound = depth if isinstance(depth, int) else at_most
    if bound is not None and bound <= CHUNK:
        return TileSums(tile, spill, 0, sum_steps(tile, 0, depth, row, column))
    chunks = emit.ceildiv(depth, CHUNK)
    length = emit.ceildiv(depth, emit.ceildiv(depth, CHUNK)) if isinstance(depth, int) else CHUNK
    result = TileSums.stored(tile, spill)
    result.store(lambda _i, _j: tile.zero())
    with emit.serial(chunks) as chunk:
        first = chunk * length
        even = isinstance(depth, int) and depth % length == 0
        count = length if even else emit.bind(emit.minimum(length, depth - first))
        result.add(sum_steps(tile, first, count, row, column))
    return result
