"""The inner loop of every product: a tile of sums in registers, one outer product for each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sam3port.kernels.cpu import emit
from sam3port.kernels.cpu.emit import Buffer, Dim, Expr
from sam3port.kernels.cpu.vector_unit import RegisterTile

_CHUNK = 128
"""Steps summed in one go. One chain of 4736 float32 additions is four times less exact than BLAS on average (nine
times at worst); sums of sums over 128 are a little more exact than BLAS, and cost one percent of the time."""


@dataclass(frozen=True, slots=True)
class TileSums:
    """The sums of a tile: in registers, or already in memory."""

    tile: RegisterTile
    stash: Buffer
    """rows * columns floats, row by row."""
    in_memory: bool
    _registers: Callable[[int, int], Expr]

    def __call__(self, i: int, j: int) -> Expr:
        """The vector j of row i."""
        return emit.load(self.stash, [self._at(i, j)], self.tile.lanes) if self.in_memory else self._registers(i, j)

    def to_memory(self) -> None:
        """Makes sure that the stash has them."""
        if self.in_memory:
            return
        for i in range(self.tile.rows):
            for j in range(self.tile.vectors):
                emit.store(self.stash, self._registers(i, j), [self._at(i, j)], self.tile.lanes)

    def _at(self, i: int, j: int) -> int:
        return (i * self.tile.vectors + j) * self.tile.lanes


def accumulate(
    tile: RegisterTile,
    depth: Dim,
    row: Callable[[Expr, int], Expr],
    column: Callable[[Expr, int], Expr],
    stash: Buffer,
    at_most: int | None = None,
) -> TileSums:
    """Emits ``sum[i, j] = sum over k of row(k, i) * column(k, j)``.

    Args:
        depth: number of steps k.
        row: the scalar of row i at step k; column: the vector (``tile.lanes``) of vector column j at step k.
        stash: rows * columns floats of scratch memory.
        at_most: bound of a depth that is not known.
    """
    bound = depth if isinstance(depth, int) else at_most
    chunked = bound is None or bound > _CHUNK
    chunks = emit.ceildiv(depth, _CHUNK)
    length = emit.ceildiv(depth, chunks) if isinstance(depth, int) else _CHUNK
    # One array for each row: an array over 1 KiB would leave the stack, and with it the registers.
    sums = [emit.scratch((tile.columns,)) for _ in range(tile.rows)]
    zero = emit.constant(0.0, tile.lanes)

    def held(i: int, j: int) -> Expr:
        return emit.load(sums[i], [j * tile.lanes], tile.lanes)

    result = TileSums(tile, stash, chunked, held)

    def each(action: Callable[[int, int, int], None]) -> None:
        for i in range(tile.rows):
            for j in range(tile.vectors):
                action(i, j, (i * tile.vectors + j) * tile.lanes)

    def steps(first: Expr, count: Dim) -> None:
        each(lambda i, j, _: emit.store(sums[i], zero, [j * tile.lanes], tile.lanes))
        with emit.serial(count) as step:
            k = first + step
            columns = [emit.bind(column(k, j)) for j in range(tile.vectors)]
            for i in range(tile.rows):
                element = emit.bind(emit.broadcast(row(k, i), tile.lanes))
                for j in range(tile.vectors):
                    emit.store(sums[i], held(i, j) + element * columns[j], [j * tile.lanes], tile.lanes)

    if not chunked:
        steps(0, depth)
        return result
    each(lambda _i, _j, at: emit.store(stash, zero, [at], tile.lanes))
    with emit.serial(chunks) as chunk:
        first = chunk * length
        steps(
            first,
            length if isinstance(depth, int) and depth % length == 0 else emit.minimum(length, depth - first),
        )
        each(lambda i, j, at: emit.store(stash, emit.load(stash, [at], tile.lanes) + held(i, j), [at], tile.lanes))
    return result
