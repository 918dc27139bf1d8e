"""Scaled dot-product attention that never holds the scores: one block of keys at a time, rescaled as it goes.

For a strip of query rows and a block of keys, the scores go from registers into a few KiB of scratch, become
weights relative to the largest score so far, and are multiplied with the values; earlier sums are rescaled when a
larger score turns up. Keys are first packed into panels as a weight is (see `gemm`), values into zero-padded lines.

Weights are powers of two, of scores that are scaled by log2(e) as well. Queries, keys, values and weights are converted
to their format while they are packed; scores, their largest and all sums stay float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tvm import tirx

from sam3port.kernels.cpu.attention import rotary
from sam3port.kernels.cpu.attention.online_softmax import emit_weights
from sam3port.kernels.cpu.attention.packing import pack_panel_of_keys, rotated
from sam3port.kernels.cpu.attention.scores import MINUS_INFINITY, emit_scores
from sam3port.kernels.cpu.attention.sizes import Packed, Sizes
from sam3port.kernels.cpu.attention.spec import AttentionSpec, at, operand_shapes
from sam3port.kernels.cpu.codegen import emit, expressions, lines, powers
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import CHUNK, sum_steps
from sam3port.kernels.cpu.products.blocked import even_chunks
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, attention_schedule


def attention_func(
    spec: AttentionSpec, arithmetic: Arithmetic, schedule: AttentionSchedule | None = None
) -> tirx.PrimFunc:
    """``(q, k, v[, rotations][, bias], out)``: ``softmax(q @ k^T * scale + bias) @ v``; all of them float32.

    ``rotations`` [queries, features] are cos and sin of every pair of features in turn.
    """
    q_shape, k_shape, v_shape = operand_shapes(spec)
    parameters = [
        ("q", q_shape),
        ("k", k_shape),
        ("v", v_shape),
        *([("rotations", (spec.queries, spec.features))] if spec.rotary else []),
        *([("bias", spec.bias)] if spec.bias is not None else []),
        ("out", at(spec.layouts[3], spec.batch, spec.heads, spec.queries, spec.value_features)),
    ]

    def body(q: Buffer, k: Buffer, v: Buffer, *rest: Buffer) -> None:
        remaining = list(rest)
        rotations = remaining.pop(0) if spec.rotary else None
        bias = remaining.pop(0) if spec.bias is not None else None
        _emit(sizes, q, k, v, rotations, bias, *remaining)

    sizes = Sizes(
        spec,
        arithmetic,
        schedule or attention_schedule(spec.queries, spec.keys, spec.value_features, arithmetic.cpu),
    )
    flops = 2 * spec.batch * spec.heads * spec.queries * spec.keys * (spec.features + spec.value_features)
    blocks = f"blocks of {sizes.strips * sizes.scores.rows} queries and {sizes.block_keys} keys"
    return emit.primfunc(parameters, body, kernel=emit.Kernel("attention", f"{sizes.scores}, {blocks}", flops))


def _emit(
    sizes: Sizes, q: Buffer, k: Buffer, v: Buffer, rotations: Buffer | None, bias: Buffer | None, out: Buffer
) -> None:
    with sizes.arithmetic.instructions(sizes.panel_groups):
        packed: Packed | None = None
        if not sizes.near:
            packed = sizes.room(sizes.tasks_outer)
            with emit.parallel(sizes.tasks_outer * sizes.panels) as own_task:
                head, panel = emit.bind(own_task // sizes.panels), emit.bind(own_task % sizes.panels)
                pack_panel_of_keys(sizes, k, v, rotations, packed, head, panel, sizes.slot(head, panel, panel))
        scales = powers.imported() if sizes.cpu.scales_exponents else contextlib.nullcontext()
        with tasks(sizes.tasks_outer * sizes.query_blocks) as task, scales:
            outer = emit.bind(task // sizes.query_blocks)
            first = emit.bind((task % sizes.query_blocks) * (sizes.strips * sizes.scores.rows))
            own = packed or sizes.room(1)

            def pack(panel: Expr, offset: Expr) -> None:
                pack_panel_of_keys(sizes, k, v, rotations, own, outer, panel, sizes.slot(outer, panel, offset))

            _query_block(sizes, q, rotations, bias, out, own, pack if sizes.near else None, outer, first)


def _query_block(
    sizes: Sizes,
    q: Buffer,
    rotations: Buffer | None,
    bias: Buffer | None,
    out: Buffer,
    packed: Packed,
    pack: Callable[[Expr, Expr], None] | None,
    outer: Expr,
    first: Expr,
) -> None:
    """All keys for a block of queries; ``pack(panel, offset)`` packs the keys of a block before they are read."""
    spec, rows, lanes = sizes.spec, sizes.scores.rows, sizes.lanes
    block_rows = sizes.strips * rows
    batch, head = outer // spec.heads, outer % spec.heads
    queries = emit.scratch((block_rows * sizes.groups,), sizes.format.cached)
    largest = emit.scratch((block_rows,))
    total = emit.scratch((block_rows,))
    result = emit.scratch((block_rows * sizes.padded_values,))
    scores = emit.scratch((rows * sizes.block_keys,))
    # Where a group is one float32, weights take the place of the scores that they are made of.
    grouped = sizes.format.micro_kernel.group > 1
    weights = (
        emit.scratch((rows * sizes.block_panels * sizes.panel_groups,), sizes.format.cached) if grouped else scores
    )
    rescale = emit.scratch((rows,))
    spill = emit.scratch((rows * sizes.scores.columns,))

    with emit.serial(sizes.strips) as strip, emit.serial(rows) as i:
        row = strip * rows + i
        source = tirx.min(first + row, spec.queries - 1)
        emit.store(largest, emit.constant(MINUS_INFINITY), [row])
        emit.store(total, emit.constant(0.0), [row])

        def query(feature: Expr, count: int, source: Expr = source) -> Value:
            def of_query(feature: Expr, count: int) -> Value:
                return emit.load(q, sizes.operand_at(0, batch, head, source, feature), count)

            scale = emit.constant(spec.scale * expressions.LOG2_E, count)
            return rotated(rotations, source, of_query, feature, count) * scale

        def take(group: Expr, count: int, row: Expr = row, query: rotary.Line = query) -> None:
            numbers = sizes.format.groups_along(group, query, count)
            emit.store(queries, numbers, [row * sizes.groups + group], count)

        lines.each(sizes.full_groups, lanes, take)
        with emit.serial(sizes.groups - sizes.full_groups) as rest:
            group = sizes.full_groups + rest
            numbers = sizes.format.group(spec.features, group, lambda feature: query(feature, 1))
            emit.store(queries, numbers, [row * sizes.groups + group])
        with emit.serial(sizes.padded_values // lanes) as line:
            emit.store(result, emit.constant(0.0, lanes), [row * sizes.padded_values + line * lanes], lanes)

    with emit.serial(sizes.blocks) as block:
        first_panel = block * sizes.block_panels
        panels = emit.minimum(sizes.block_panels, sizes.panels - first_panel)
        if isinstance(sizes.panels, int) and sizes.panels % sizes.block_panels == 0:
            panels = sizes.block_panels
        if pack is not None:
            with emit.serial(panels) as offset:
                pack(first_panel + offset, offset)
        with emit.serial(sizes.strips) as strip:

            def strip_body(strip: Expr = strip, first_panel: Expr = first_panel, panels: Dim = panels) -> None:
                top = first + strip * rows
                with emit.serial(panels) as offset:
                    emit_scores(
                        sizes, queries, packed, bias, scores, spill, outer, strip, top, first_panel + offset, offset
                    )
                emit_weights(sizes, scores, weights, largest, total, rescale, strip, panels)
                _results(sizes, weights, packed, result, rescale, outer, strip, first_panel, panels)

            emit.when(first + strip * rows < spec.queries, strip_body)

    with emit.serial(emit.minimum(block_rows, spec.queries - first)) as row:
        inverse = emit.bind(emit.constant(1.0) / total[row])
        if spec.empty_rows == "zero":
            inverse = emit.bind(tirx.Select(total[row] == emit.constant(0.0), emit.constant(0.0), inverse))

        def target(feature: Expr, row: Expr = row) -> list[Expr]:
            return at(spec.layouts[3], batch, head, first + row, feature)

        whole = spec.value_features // lanes
        with emit.serial(whole) as line:
            value = emit.load(result, [sizes.result_at(row, line * lanes)], lanes)
            emit.store(out, value * emit.broadcast(inverse, lanes), target(line * lanes), lanes)
        with emit.serial(spec.value_features % lanes) as feature:
            value = result[sizes.result_at(row, whole * lanes + feature)]
            emit.store(out, value * inverse, target(whole * lanes + feature))


def _results(
    sizes: Sizes,
    weights: Buffer,
    packed: Packed,
    result: Buffer,
    rescale: Buffer,
    outer: Expr,
    strip: Expr,
    first_panel: Expr,
    panels: Dim,
) -> None:
    """Rescales what was summed before, and adds the values of a block of keys."""
    tile = sizes.values
    row_groups = sizes.block_panels * sizes.panel_groups
    chunks = even_chunks(tile.unroll, panels * sizes.panel_groups)
    count = 1 if row_groups <= CHUNK else chunks.count
    with emit.serial(sizes.value_panels) as panel, emit.serial(count) as chunk:
        first, steps = chunks.bound(chunk)
        at = emit.bind(sizes.value_at(sizes.slot(outer, first_panel, 0), panel, first, 0))
        accumulators = sum_steps(
            tile,
            0,
            steps,
            lambda step, i: weights[i * row_groups + first + step],
            lambda step, j: emit.load(packed.values, [at + step * tile.columns + j * tile.lanes], tile.lanes),
        )
        for i in range(tile.rows):
            factor = emit.bind(tirx.Select(chunk == 0, rescale[i], emit.constant(1.0)))
            for j in range(tile.vectors):
                place = sizes.result_at(strip * tile.rows + i, panel * tile.columns + j * tile.lanes)
                earlier = emit.load(result, [place], tile.lanes) * emit.broadcast(factor, tile.lanes)
                emit.store(result, earlier + accumulators(i, j), [place], tile.lanes)
