"""Scores of a strip of queries and a panel of keys, with bias and mask."""

from __future__ import annotations

from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.attention.sizes import Packed, Sizes
from sam3port.kernels.cpu.codegen import emit, expressions
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.formats.register_tile import accumulate

MINUS_INFINITY: Final = float("-inf")
"""The score of a key that a query does not see."""
_LINE: Final = emit.CACHE_LINE // 4
"""Biases, which are float32, in a cache line."""


def emit_scores(
    sizes: Sizes,
    queries: Buffer,
    packed: Packed,
    bias: Buffer | None,
    scores: Buffer,
    spill: Buffer,
    outer: Expr,
    strip: Expr,
    top: Expr,
    panel: Expr,
    offset: Expr,
) -> None:
    """One tile of scores, times log2(e), into the scratch; -inf where there is no key."""
    spec, tile = sizes.spec, sizes.scores
    first_key = panel * tile.columns
    slot = sizes.slot(outer, panel, offset)

    def bias_at(i: Expr, key: Expr) -> list[Expr]:
        assert spec.bias is not None
        row = tirx.min(top + i, spec.queries - 1)
        where = [outer // spec.heads, outer % spec.heads, row, key]
        return [0 if _same_for_all(dim) else x for dim, x in zip(spec.bias, where, strict=True)]

    if bias is not None and spec.bias is not None and not any(_same_for_all(dim) for dim in spec.bias[2:]):
        # The next strip's bias is read once and comes from far.
        for i in range(tile.rows):
            for column in range(0, tile.columns, _LINE):
                emit.prefetch(bias[tuple(bias_at(tile.rows + i, first_key + column))])
    sums = accumulate(
        tile,
        sizes.groups,
        lambda step, i: queries[(strip * tile.rows + i) * sizes.groups + step],
        lambda step, j: emit.load(packed.keys, [sizes.key_at(slot, step, j * tile.lanes)], tile.lanes),
        spill,
    )

    def at(i: Expr, column: Expr) -> Expr:
        return i * sizes.block_keys + offset * tile.columns + column

    def whole() -> None:
        for i in range(tile.rows):
            for j in range(tile.vectors):
                value = sums(i, j)
                if bias is not None:
                    added = _bias(sizes, bias, bias_at(i, first_key + j * tile.lanes), tile.lanes)
                    value = _plus_bias(value, added, tile.lanes)
                emit.store(scores, value, [at(i, j * tile.lanes)], tile.lanes)

    def ragged() -> None:
        for i in range(tile.rows):
            for j in range(tile.vectors):
                emit.store(scores, sums(i, j), [at(i, j * tile.lanes)], tile.lanes)
        with emit.serial(tile.rows) as row, emit.serial(tile.columns) as column:
            key = first_key + column
            value = scores[at(row, column)]
            if bias is not None:
                value = _plus_bias(value, bias[tuple(bias_at(row, key))], 1)
            seen = key < spec.keys
            emit.store(scores, tirx.if_then_else(seen, value, emit.constant(MINUS_INFINITY)), [at(row, column)])

    full = isinstance(spec.keys, int) and spec.keys % tile.columns == 0
    emit.when(True if full else first_key + tile.columns <= spec.keys, whole, ragged)
    if spec.causal_offset is not None:
        limit = top + spec.causal_offset

        def mask() -> None:
            with emit.serial(tile.rows) as i, emit.serial(tile.columns) as column:
                hidden = first_key + column > limit + i
                value = tirx.Select(hidden, emit.constant(MINUS_INFINITY), scores[at(i, column)])
                emit.store(scores, value, [at(i, column)])

        emit.when(first_key + (tile.columns - 1) > limit, mask)


def _bias(sizes: Sizes, bias: Buffer, indices: list[Expr], lanes: int) -> Value:
    assert sizes.spec.bias is not None
    if _same_for_all(sizes.spec.bias[3]):
        return emit.broadcast(bias[tuple(indices)], lanes)
    return emit.load(bias, indices, lanes)


def _same_for_all(dim: Dim) -> bool:
    """Whether a bias is broadcast along an axis."""
    return isinstance(dim, int) and dim == 1


def _plus_bias(score: Value, bias: Value, lanes: int) -> Value:
    """A score that is scaled by log2(e), and a bias that is not."""
    return expressions.fma(bias, emit.constant(expressions.LOG2_E, lanes), score)
