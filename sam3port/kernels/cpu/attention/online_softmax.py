"""Weights from scores, block by block: relative to the largest score so far, with the factor for what came before."""

from __future__ import annotations

from tvm import tirx

from sam3port.kernels.cpu.attention.scores import MINUS_INFINITY
from sam3port.kernels.cpu.attention.sizes import Sizes
from sam3port.kernels.cpu.codegen import emit, expressions, powers
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.lines import across


def emit_weights(
    sizes: Sizes,
    scores: Buffer,
    weights: Buffer,
    largest: Buffer,
    total: Buffer,
    rescale: Buffer,
    strip: Expr,
    panels: Dim,
) -> None:
    """Scores to 2**(score - largest so far), their sum, and the factor for what was summed before."""
    tile, lanes = sizes.scores, sizes.lanes
    # All columns of a tile in one wide vector: chains of operations side by side, which do not wait for each other.
    wide = tile.columns

    def whole(buffer: Buffer) -> Value:
        return emit.load(buffer, [0], wide)

    def vectors(buffer: Buffer) -> list[Value]:
        return [emit.load(buffer, [j * lanes], lanes) for j in range(tile.vectors)]

    with emit.serial(tile.rows) as i:
        row = strip * tile.rows + i
        tops = emit.scratch((wide,))
        sums = emit.scratch((wide,))
        emit.store(tops, emit.constant(MINUS_INFINITY, wide), [0], wide)
        emit.store(sums, emit.constant(0.0, wide), [0], wide)
        with emit.serial(panels) as panel:
            at = i * sizes.block_keys + panel * wide
            emit.store(tops, tirx.max(whole(tops), emit.load(scores, [at], wide)), [0], wide)
        before = emit.bind(largest[row])
        now = emit.bind(tirx.max(before, across(tirx.max, vectors(tops), lanes)))
        # A row that has seen nothing but -inf: 0 in its place makes all its weights 0 instead of NaN.
        origin = emit.bind(tirx.Select(now == emit.constant(MINUS_INFINITY), emit.constant(0.0), now))
        factor = emit.bind(expressions.exp2_nonpositive(before - origin, emit.bind, 1))
        with emit.serial(panels) as panel:
            at = i * sizes.block_keys + panel * wide
            weight = emit.bind(_powers(sizes, scores, at, origin))
            if sizes.format.micro_kernel.group > 1:
                first = (i * sizes.block_panels + panel) * sizes.panel_groups

                def of_panel(_at: Expr, _count: int, weight: Value = weight) -> Value:
                    return weight

                groups = sizes.format.groups_along(0, of_panel, sizes.panel_groups)
                emit.store(weights, groups, [first], sizes.panel_groups)
            else:
                emit.store(weights, weight, [at], wide)
            emit.store(sums, whole(sums) + weight, [0], wide)
        added = across(lambda a, b: a + b, vectors(sums), lanes)
        emit.store(total, total[row] * factor + added, [row])
        emit.store(largest, now, [row])
        emit.store(rescale, factor, [i])


def _powers(sizes: Sizes, scores: Buffer, at: Expr, origin: Value) -> Value:
    """2**(score - origin) of a row of a tile."""
    wide, lanes = sizes.scores.columns, sizes.lanes
    if not sizes.cpu.scales_exponents:
        shifted = emit.load(scores, [at], wide) - emit.broadcast(origin, wide)
        return expressions.exp2_nonpositive(shifted, emit.bind, wide)
    exp2 = powers.exp2 if sizes.format.exact else powers.exp2_coarse
    from_origin = [
        emit.load(scores, [at + j * lanes], lanes) - emit.broadcast(origin, lanes) for j in range(wide // lanes)
    ]
    return tirx.Shuffle([emit.bind(exp2(emit.bind(shifted))) for shifted in from_origin], list(range(wide)))
