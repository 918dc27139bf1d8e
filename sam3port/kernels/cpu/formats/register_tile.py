"""The inner loop of every product: a tile of sums in registers, one outer product for each step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr
from sam3port.kernels.cpu.formats import dot
from sam3port.kernels.cpu.formats.vector_unit import RegisterTile

CHUNK: Final = 128
"""Steps summed in one go. One chain of 4736 float32 additions is four times less exact than BLAS on average (nine
times at worst); sums of sums over 128 are a little more exact than BLAS, and cost one percent of the time."""

Held = Callable[[int, int], Expr]
"""``(i, j)``: vector j of row i, in registers."""


@dataclass(frozen=True, slots=True)
class TileSums:
    """The sums of a tile: in registers, or already in memory."""

    tile: RegisterTile
    memory: Buffer
    """Has rows * columns floats for them, row by row,"""
    start: Expr
    """from here on."""
    held: Held | None
    """None: they are in memory."""

    @staticmethod
    def stored(tile: RegisterTile, memory: Buffer, start: Expr = 0) -> TileSums:
        """Sums that are, or will be, in memory."""
        return TileSums(tile, memory, start, None)

    def __call__(self, i: int, j: int) -> Expr:
        """The vector j of row i."""
        if self.held is not None:
            return self.held(i, j)
        return emit.load(self.memory, [self._at(i, j)], self.tile.lanes)

    def to_memory(self) -> None:
        """Makes sure that the memory has them."""
        if self.held is not None:
            self.store(self.held)

    def store(self, held: Held) -> None:
        """Puts sums into the memory."""
        each_vector(self.tile, lambda i, j: emit.store(self.memory, held(i, j), [self._at(i, j)], self.tile.lanes))

    def add(self, held: Held, sign: int = 1) -> None:
        """Adds to the sums in memory; with sign -1, subtracts from them."""

        def one(i: int, j: int) -> None:
            before = emit.load(self.memory, [self._at(i, j)], self.tile.lanes)
            value = before + held(i, j) if sign > 0 else before - held(i, j)
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
    row: Callable[[Expr, int], Expr],
    column: Callable[[Expr, int], Expr],
    beside: Callable[[Expr], None] | None = None,
) -> Held:
    """Emits the sums of ``row(k, i) * column(k, j)`` over `count` steps k from `first` on, kept in registers.

    Where the tile has an instruction for pairs of bfloat16, rows and columns are words (uint32) of two numbers each.
    In each round of the unrolled loop `beside` may emit something of its own; it gets the round's number.
    """
    lanes = tile.lanes
    # One array for each row: an array over 1 KiB would leave the stack, and with it the registers.
    sums = [emit.scratch((tile.columns,)) for _ in range(tile.rows)]
    zero = emit.constant(0.0, lanes)

    def held(i: int, j: int) -> Expr:
        return emit.load(sums[i], [j * lanes], lanes)

    def one(k: Expr) -> None:
        columns = [emit.bind(column(k, j)) for j in range(tile.vectors)]
        for i in range(tile.rows):
            element = emit.bind(emit.broadcast(row(k, i), lanes))
            for j in range(tile.vectors):
                if tile.dot:
                    value = dot.multiply_add(held(i, j), element, columns[j], lanes)
                else:
                    value = held(i, j) + element * columns[j]
                emit.store(sums[i], value, [j * lanes], lanes)

    each_vector(tile, lambda i, j: emit.store(sums[i], zero, [j * lanes], lanes))
    rounds = count // tile.unroll
    with dot.imported(tile.dot, lanes) if tile.dot else contextlib.nullcontext():
        if not (isinstance(count, int) and rounds == 0):
            with emit.serial(rounds) as step:
                if beside is not None:
                    beside(step)
                for u in range(tile.unroll):
                    one(first + step * tile.unroll + u)
        if not (isinstance(count, int) and count % tile.unroll == 0):
            with emit.serial(count % tile.unroll) as step:
                one(first + rounds * tile.unroll + step)
    return held


def accumulate(
    tile: RegisterTile,
    depth: Dim,
    row: Callable[[Expr, int], Expr],
    column: Callable[[Expr, int], Expr],
    stash: Buffer,
    at_most: int | None = None,
) -> TileSums:
    """Emits ``sum[i, j] = sum over k of row(k, i) * column(k, j)`` for one tile.

    Args:
        depth: number of steps k.
        row: the scalar of row i at step k; column: the vector (``tile.lanes``) of vector column j at step k.
        stash: rows * columns floats of scratch memory.
        at_most: bound of a depth that is not known.
    """
    bound = depth if isinstance(depth, int) else at_most
    if bound is not None and bound <= CHUNK:
        return TileSums(tile, stash, 0, sum_steps(tile, 0, depth, row, column))
    chunks = emit.ceildiv(depth, CHUNK)
    length = emit.ceildiv(depth, chunks) if isinstance(depth, int) else CHUNK
    result = TileSums.stored(tile, stash)
    result.store(lambda _i, _j: emit.constant(0.0, tile.lanes))
    with emit.serial(chunks) as chunk:
        first = chunk * length
        even = isinstance(depth, int) and depth % length == 0
        count = length if even else emit.bind(emit.minimum(length, depth - first))
        result.add(sum_steps(tile, first, count, row, column))
    return result
