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
from dataclasses import dataclass, replace
from typing import Literal

from tvm import tirx

from sam3port.kernels.common.heads import Layout, Part
from sam3port.kernels.cpu.attention import rotary
from sam3port.kernels.cpu.codegen import emit, expressions, lines, powers
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.lines import across
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.codegen.transpose import transposed
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import CHUNK, RegisterTile, accumulate, sum_steps
from sam3port.kernels.cpu.products.blocked import even_chunks
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, attention_schedule

_MINUS_INFINITY = float("-inf")
_CACHE_LINE = 16
"""float32 numbers."""


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """Shapes and meaning of one attention kernel. Lengths and batch may be symbolic (int64)."""

    batch: Dim
    """Items of the batch; may be symbolic."""
    heads: int
    """Heads of an item."""
    queries: Dim
    """Queries of a head; may be symbolic."""
    keys: Dim
    """Keys of a head, and as many values; may be symbolic."""
    features: int
    """Features of a query, and of a key."""
    value_features: int
    """Features of a value, and of a result."""
    scale: float
    """What products of queries and keys are multiplied with."""
    layouts: tuple[Layout, Layout, Layout, Layout] = ("BHLD", "BHLD", "BHLD", "BHLD")
    """The orders of axes of q, k, v and the output."""
    parts: tuple[Part, Part, Part] = ((0, 1), (0, 1), (0, 1))
    """Which part of its tensor each of q, k and v is: where one layer computes them all, its result is read where it
    lies. A tensor of n parts has n times `heads` heads."""
    rotary: bool = False
    """Whether queries and keys, as many of one as of the other, are rotated as they are read, see `rotary`."""
    bias: tuple[Dim, Dim, Dim, Dim] | None = None
    """Shape of an additive bias, [batch or 1, heads or 1, queries or 1, keys]."""
    causal_offset: int | None = None
    """Query i sees keys up to ``i + causal_offset``; None: all."""
    empty_rows: Literal["zero", "nan"] = "zero"
    """Result of a row whose scores are all -inf. PyTorch's scaled_dot_product_attention gives zero, and
    ``softmax(scores) @ v`` gives NaN."""


def attention_func(
    spec: AttentionSpec, arithmetic: Arithmetic, schedule: AttentionSchedule | None = None
) -> tirx.PrimFunc:
    """``(q, k, v[, rotations][, bias], out)``: ``softmax(q @ k^T * scale + bias) @ v``; all of them float32.

    ``rotations`` [queries, features] are cos and sin of every pair of features in turn.
    """
    q_shape, k_shape, v_shape = _operand_shapes(spec)
    parameters = [
        ("q", q_shape),
        ("k", k_shape),
        ("v", v_shape),
        *([("rotations", (spec.queries, spec.features))] if spec.rotary else []),
        *([("bias", spec.bias)] if spec.bias is not None else []),
        ("out", _at(spec.layouts[3], spec.batch, spec.heads, spec.queries, spec.value_features)),
    ]

    def body(q: Buffer, k: Buffer, v: Buffer, *rest: Buffer) -> None:
        remaining = list(rest)
        rotations = remaining.pop(0) if spec.rotary else None
        bias = remaining.pop(0) if spec.bias is not None else None
        kernels.emit(q, k, v, rotations, bias, *remaining)

    kernels = _Attention(
        spec,
        arithmetic,
        schedule or attention_schedule(spec.queries, spec.keys, spec.value_features, arithmetic.cpu),
    )
    flops = 2 * spec.batch * spec.heads * spec.queries * spec.keys * (spec.features + spec.value_features)
    blocks = f"blocks of {kernels.strips * kernels.scores.rows} queries and {kernels.block_keys} keys"
    return emit.primfunc(parameters, body, kernel=emit.Kernel("attention", f"{kernels.scores}, {blocks}", flops))


def _operand_shapes(spec: AttentionSpec) -> tuple[list[Dim], list[Dim], list[Dim]]:
    """Of the tensors that q, k and v are in."""
    lengths = (spec.queries, spec.keys, spec.keys)
    features = (spec.features, spec.features, spec.value_features)
    q, k, v = (
        _at(layout, spec.batch, spec.heads * count, length, each)
        for layout, (_, count), length, each in zip(spec.layouts, spec.parts, lengths, features, strict=False)
    )
    return q, k, v


def _at(layout: Layout, batch: Expr, head: Expr, row: Expr, feature: Expr) -> list[Expr]:
    """In the order of a layout: indices, or how many there are of each."""
    return [batch, head, row, feature] if layout == "BHLD" else [batch, row, head, feature]


def _rotated(rotations: Buffer | None, position: Expr, values: rotary.Line, feature: Expr, lanes: int) -> Value:
    """Features of a query or key, rotated by its position where the attention does that."""
    if rotations is None:
        return values(feature, lanes)
    return rotary.rotated(values, lambda at, count: emit.load(rotations, [position, at], count), feature, lanes)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Keys and values in the order in which they are read."""

    keys: Buffer
    """Panels of keys: groups along features, then the keys of the panel."""
    values: Buffer
    """Panels of value features: groups along keys, then the features of the panel."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A panel's place among packed ones."""

    head: Expr
    """The head, counted over the batch; 0 where a task packs for itself."""
    panel: Expr
    """The panel of keys within those that are kept."""


class _Attention:
    """Emits the two stages; holds the sizes that they share."""

    def __init__(self, spec: AttentionSpec, arithmetic: Arithmetic, schedule: AttentionSchedule) -> None:
        self.spec = spec
        self.arithmetic = arithmetic
        self.cpu, self.format = arithmetic.cpu, arithmetic.format
        self.lanes = arithmetic.cpu.lanes
        self.schedule = schedule
        tile = RegisterTile(schedule.rows, schedule.vectors, self.lanes, schedule.unroll, self.format.micro_kernel)
        self.scores = tile
        """Tile of scores: query rows by keys."""
        self.values = replace(tile, vectors=schedule.value_vectors)
        """Tile of results: query rows by value features; several of them side by side when features are many."""
        self.value_panels = emit.ceildiv(spec.value_features, self.values.columns)
        self.padded_values = self.value_panels * self.values.columns
        self.groups = self.format.groups(spec.features)
        """Groups along the features of a query or a key."""
        self.full_groups = self.format.full_groups(spec.features)
        """Those of them that zeros do not fill up."""
        self.panel_groups = self.format.groups(tile.columns)
        """Groups along the keys of a panel, in values and weights."""
        self.panels = emit.ceildiv(spec.keys, self.scores.columns)
        block_panels = max(1, schedule.block_keys // self.scores.columns)
        self.block_panels = min(block_panels, self.panels) if isinstance(self.panels, int) else block_panels
        self.block_keys = self.block_panels * self.scores.columns
        self.blocks = emit.ceildiv(self.panels, self.block_panels)
        self.tasks_outer = spec.batch * spec.heads
        self.strips = self._strips()
        self.query_blocks = emit.ceildiv(spec.queries, self.strips * self.scores.rows)
        self.near = self._is_near()
        """Whether a task packs the block of keys and values that it is about to read, and nobody else does."""
        self.kept_panels = self.block_panels if self.near else self.panels
        """Panels of packed keys that there are at a time, for each head."""

    def _strips(self) -> int:
        """Tiles of query rows in one task: many, unless that leaves cores idle."""
        rows = self.scores.rows
        strips: int = max(1, self.schedule.block_queries // rows)
        if isinstance(self.spec.queries, int):
            total = emit.ceildiv(self.spec.queries, rows)
            wanted = 1
            if isinstance(self.tasks_outer, int):
                wanted = emit.ceildiv(4 * self.cpu.cores, self.tasks_outer)
            blocks = max(emit.ceildiv(total, strips), min(wanted, total))
            strips = emit.ceildiv(total, blocks)
        return strips

    def _is_near(self) -> bool:
        """A single block of queries reads each key once: packed beforehand, all keys would go through memory twice."""
        outer, blocks = self.tasks_outer, self.query_blocks
        return isinstance(outer, int) and isinstance(blocks, int) and blocks == 1 and outer >= self.cpu.cores

    def emit(self, q: Buffer, k: Buffer, v: Buffer, rotations: Buffer | None, bias: Buffer | None, out: Buffer) -> None:
        with self.arithmetic.instructions(self.panel_groups):
            packed: _Packed | None = None
            if not self.near:
                packed = self._room(self.tasks_outer)
                with emit.parallel(self.tasks_outer * self.panels) as own_task:
                    head, panel = emit.bind(own_task // self.panels), emit.bind(own_task % self.panels)
                    self._pack(k, v, rotations, packed, head, panel, self._slot(head, panel, panel))
            scales = powers.imported() if self.cpu.scales_exponents else contextlib.nullcontext()
            with tasks(self.tasks_outer * self.query_blocks) as task, scales:
                outer = emit.bind(task // self.query_blocks)
                first = emit.bind((task % self.query_blocks) * (self.strips * self.scores.rows))
                own = packed or self._room(1)

                def pack(panel: Expr, offset: Expr) -> None:
                    self._pack(k, v, rotations, own, outer, panel, self._slot(outer, panel, offset))

                self._query_block(q, rotations, bias, out, own, pack if self.near else None, outer, first)

    def _room(self, heads: Dim) -> _Packed:
        """For the packed keys and values of so many heads."""
        dtype, panels = self.format.cached, heads * self.kept_panels
        keys = emit.scratch((panels * self.groups * self.scores.columns,), dtype)
        return _Packed(keys, emit.scratch((panels * self.panel_groups * self.padded_values,), dtype))

    def _slot(self, outer: Expr, panel: Expr, offset: Expr) -> _Slot:
        """Where a panel is packed, which is the one at `offset` in its block of keys."""
        return _Slot(0, offset) if self.near else _Slot(outer, panel)

    def _key_at(self, slot: _Slot, group: Expr, key: Expr) -> Expr:
        return ((slot.head * self.kept_panels + slot.panel) * self.groups + group) * self.scores.columns + key

    def _value_at(self, slot: _Slot, value_panel: Expr, group: Expr, column: Expr) -> Expr:
        """``[head, value panel, group of keys, column]``"""
        line = (slot.head * self.value_panels + value_panel) * self.kept_panels + slot.panel
        return (line * self.panel_groups + group) * self.values.columns + column

    def _operand_at(self, operand: int, batch: Expr, head: Expr, row: Expr, feature: Expr) -> list[Expr]:
        """Where an element of q (0), k (1) or v (2) is."""
        stored = self.spec.parts[operand][0] * self.spec.heads + head
        return _at(self.spec.layouts[operand], batch, stored, row, feature)

    def _pack(
        self,
        k: Buffer,
        v: Buffer,
        rotations: Buffer | None,
        packed: _Packed,
        outer: Expr,
        panel: Expr,
        slot: _Slot,
    ) -> None:
        """A panel of keys and their values."""
        spec, columns = self.spec, self.scores.columns
        batch, head = emit.bind(outer // spec.heads), emit.bind(outer % spec.heads)
        first = emit.bind(panel * columns)

        def key_features(key: Expr, feature: Expr, count: int) -> Value:
            def of_key(feature: Expr, count: int) -> Value:
                return emit.load(k, self._operand_at(1, batch, head, first + key, feature), count)

            return _rotated(rotations, first + key, of_key, feature, count)

        def value(key: Expr, feature: Expr, count: int) -> Value:
            return emit.load(v, self._operand_at(2, batch, head, first + key, feature), count)

        def keys_place(group: Expr, key: Expr) -> list[Expr]:
            return [self._key_at(slot, group, key)]

        def values_place(group: Expr, feature: Expr) -> list[Expr]:
            return [self._value_at(slot, feature // self.values.columns, group, feature % self.values.columns)]

        def whole() -> None:
            self._turn_keys(key_features, packed.keys, keys_place)
            with emit.serial(self.panel_groups) as group:

                def copy(feature: Expr, count: int, group: Expr = group) -> None:
                    numbers = self.format.group(columns, group, lambda key: value(key, feature, count), count)
                    emit.store(packed.values, numbers, values_place(group, feature), count)

                lines.each(spec.value_features, self.lanes, copy)
                with emit.serial(self.padded_values - spec.value_features) as rest:
                    place = values_place(group, spec.value_features + rest)
                    emit.store(packed.values, self.format.zero(), place)

        def ragged() -> None:
            def key_or_zero(key: Expr, feature: Expr) -> Value:
                there = first + key < spec.keys
                return tirx.if_then_else(there, key_features(key, feature, 1), emit.constant(0.0))

            def value_or_zero(key: Expr, feature: Expr) -> Value:
                there = tirx.all(first + key < spec.keys, feature < spec.value_features)
                return tirx.if_then_else(there, value(key, feature, 1), emit.constant(0.0))

            with emit.serial(columns) as key, emit.serial(self.groups) as group:
                numbers = self.format.group(spec.features, group, lambda feature: key_or_zero(key, feature))
                emit.store(packed.keys, numbers, keys_place(group, key))
            with emit.serial(self.panel_groups) as group, emit.serial(self.padded_values) as feature:
                numbers = self.format.group(columns, group, lambda key: value_or_zero(key, feature))
                emit.store(packed.values, numbers, values_place(group, feature))

        full = isinstance(spec.keys, int) and spec.keys % columns == 0
        emit.when(True if full else first + columns <= spec.keys, whole, ragged)

    def _turn_keys(
        self,
        key_features: Callable[[Expr, Expr, int], Value],
        packed: Buffer,
        place: Callable[[Expr, Expr], list[Expr]],
    ) -> None:
        """A panel of keys, from rows of features to lines of keys."""
        features, lanes = self.spec.features, self.lanes
        blocks = self.full_groups // lanes
        with emit.serial(blocks) as block, emit.serial(self.scores.vectors) as j:
            group, key = block * lanes, j * lanes

            def along(i: int, key: Expr = key, group: Expr = group) -> Value:
                return self.format.groups_along(group, lambda at, count: key_features(key + i, at, count), lanes)

            for i, column in enumerate(transposed([emit.bind(along(i)) for i in range(lanes)])):
                emit.store(packed, column, place(group + i, key), lanes)
        with emit.serial(self.scores.columns) as key, emit.serial(self.groups - blocks * lanes) as rest:
            group = blocks * lanes + rest
            numbers = self.format.group(features, group, lambda feature: key_features(key, feature, 1))
            emit.store(packed, numbers, place(group, key))

    def _query_block(
        self,
        q: Buffer,
        rotations: Buffer | None,
        bias: Buffer | None,
        out: Buffer,
        packed: _Packed,
        pack: Callable[[Expr, Expr], None] | None,
        outer: Expr,
        first: Expr,
    ) -> None:
        """All keys for a block of queries; ``pack(panel, offset)`` packs the keys of a block before they are read."""
        spec, rows, lanes = self.spec, self.scores.rows, self.lanes
        block_rows = self.strips * rows
        batch, head = outer // spec.heads, outer % spec.heads
        queries = emit.scratch((block_rows * self.groups,), self.format.cached)
        largest = emit.scratch((block_rows,))
        total = emit.scratch((block_rows,))
        result = emit.scratch((block_rows * self.padded_values,))
        scores = emit.scratch((rows * self.block_keys,))
        # Where a group is one float32, weights take the place of the scores that they are made of.
        grouped = self.format.micro_kernel.group > 1
        weights = (
            emit.scratch((rows * self.block_panels * self.panel_groups,), self.format.cached) if grouped else scores
        )
        rescale = emit.scratch((rows,))
        spill = emit.scratch((rows * self.scores.columns,))

        with emit.serial(self.strips) as strip, emit.serial(rows) as i:
            row = strip * rows + i
            source = tirx.min(first + row, spec.queries - 1)
            emit.store(largest, emit.constant(_MINUS_INFINITY), [row])
            emit.store(total, emit.constant(0.0), [row])

            def query(feature: Expr, count: int, source: Expr = source) -> Value:
                def of_query(feature: Expr, count: int) -> Value:
                    return emit.load(q, self._operand_at(0, batch, head, source, feature), count)

                scale = emit.constant(spec.scale * expressions.LOG2_E, count)
                return _rotated(rotations, source, of_query, feature, count) * scale

            def take(group: Expr, count: int, row: Expr = row, query: rotary.Line = query) -> None:
                numbers = self.format.groups_along(group, query, count)
                emit.store(queries, numbers, [row * self.groups + group], count)

            lines.each(self.full_groups, lanes, take)
            with emit.serial(self.groups - self.full_groups) as rest:
                group = self.full_groups + rest
                numbers = self.format.group(spec.features, group, lambda feature: query(feature, 1))
                emit.store(queries, numbers, [row * self.groups + group])
            with emit.serial(self.padded_values // lanes) as line:
                emit.store(result, emit.constant(0.0, lanes), [row * self.padded_values + line * lanes], lanes)

        with emit.serial(self.blocks) as block:
            first_panel = block * self.block_panels
            panels = emit.minimum(self.block_panels, self.panels - first_panel)
            if isinstance(self.panels, int) and self.panels % self.block_panels == 0:
                panels = self.block_panels
            if pack is not None:
                with emit.serial(panels) as offset:
                    pack(first_panel + offset, offset)
            with emit.serial(self.strips) as strip:

                def strip_body(strip: Expr = strip, first_panel: Expr = first_panel, panels: Dim = panels) -> None:
                    top = first + strip * rows
                    with emit.serial(panels) as offset:
                        self._scores(
                            queries, packed, bias, scores, spill, outer, strip, top, first_panel + offset, offset
                        )
                    self._weights(scores, weights, largest, total, rescale, strip, panels)
                    self._results(weights, packed, result, rescale, outer, strip, first_panel, panels)

                emit.when(first + strip * rows < spec.queries, strip_body)

        with emit.serial(emit.minimum(block_rows, spec.queries - first)) as row:
            inverse = emit.bind(emit.constant(1.0) / total[row])
            if spec.empty_rows == "zero":
                inverse = emit.bind(tirx.Select(total[row] == emit.constant(0.0), emit.constant(0.0), inverse))

            def target(feature: Expr, row: Expr = row) -> list[Expr]:
                return _at(spec.layouts[3], batch, head, first + row, feature)

            whole = spec.value_features // lanes
            with emit.serial(whole) as line:
                value = emit.load(result, [self._result_at(row, line * lanes)], lanes)
                emit.store(out, value * emit.broadcast(inverse, lanes), target(line * lanes), lanes)
            with emit.serial(spec.value_features % lanes) as feature:
                value = result[self._result_at(row, whole * lanes + feature)]
                emit.store(out, value * inverse, target(whole * lanes + feature))

    def _result_at(self, row: Expr, feature: Expr) -> Expr:
        return row * self.padded_values + feature

    def _scores(
        self,
        queries: Buffer,
        packed: _Packed,
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
        spec, tile = self.spec, self.scores
        first_key = panel * tile.columns
        slot = self._slot(outer, panel, offset)

        def bias_at(i: Expr, key: Expr) -> list[Expr]:
            assert spec.bias is not None
            row = tirx.min(top + i, spec.queries - 1)
            where = [outer // spec.heads, outer % spec.heads, row, key]
            return [0 if _same_for_all(dim) else x for dim, x in zip(spec.bias, where, strict=True)]

        if bias is not None and spec.bias is not None and not any(_same_for_all(dim) for dim in spec.bias[2:]):
            # The next strip's bias is read once and comes from far.
            for i in range(tile.rows):
                for column in range(0, tile.columns, _CACHE_LINE):
                    emit.prefetch(bias[tuple(bias_at(tile.rows + i, first_key + column))])
        sums = accumulate(
            tile,
            self.groups,
            lambda step, i: queries[(strip * tile.rows + i) * self.groups + step],
            lambda step, j: emit.load(packed.keys, [self._key_at(slot, step, j * tile.lanes)], tile.lanes),
            spill,
        )

        def at(i: Expr, column: Expr) -> Expr:
            return i * self.block_keys + offset * tile.columns + column

        def whole() -> None:
            for i in range(tile.rows):
                for j in range(tile.vectors):
                    value = sums(i, j)
                    if bias is not None:
                        added = self._bias(bias, bias_at(i, first_key + j * tile.lanes), tile.lanes)
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
                emit.store(scores, tirx.if_then_else(seen, value, emit.constant(_MINUS_INFINITY)), [at(row, column)])

        full = isinstance(spec.keys, int) and spec.keys % tile.columns == 0
        emit.when(True if full else first_key + tile.columns <= spec.keys, whole, ragged)
        if spec.causal_offset is not None:
            limit = top + spec.causal_offset

            def mask() -> None:
                with emit.serial(tile.rows) as i, emit.serial(tile.columns) as column:
                    hidden = first_key + column > limit + i
                    value = tirx.Select(hidden, emit.constant(_MINUS_INFINITY), scores[at(i, column)])
                    emit.store(scores, value, [at(i, column)])

            emit.when(first_key + (tile.columns - 1) > limit, mask)

    def _bias(self, bias: Buffer, indices: list[Expr], lanes: int) -> Value:
        assert self.spec.bias is not None
        if _same_for_all(self.spec.bias[3]):
            return emit.broadcast(bias[tuple(indices)], lanes)
        return emit.load(bias, indices, lanes)

    def _weights(
        self,
        scores: Buffer,
        weights: Buffer,
        largest: Buffer,
        total: Buffer,
        rescale: Buffer,
        strip: Expr,
        panels: Dim,
    ) -> None:
        """Scores to 2**(score - largest so far), their sum, and the factor for what was summed before."""
        tile, lanes = self.scores, self.lanes
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
            emit.store(tops, emit.constant(_MINUS_INFINITY, wide), [0], wide)
            emit.store(sums, emit.constant(0.0, wide), [0], wide)
            with emit.serial(panels) as panel:
                at = i * self.block_keys + panel * wide
                emit.store(tops, tirx.max(whole(tops), emit.load(scores, [at], wide)), [0], wide)
            before = emit.bind(largest[row])
            now = emit.bind(tirx.max(before, across(tirx.max, vectors(tops), lanes)))
            # A row that has seen nothing but -inf: 0 in its place makes all its weights 0 instead of NaN.
            origin = emit.bind(tirx.Select(now == emit.constant(_MINUS_INFINITY), emit.constant(0.0), now))
            factor = emit.bind(expressions.exp2_nonpositive(before - origin, emit.bind, 1))
            with emit.serial(panels) as panel:
                at = i * self.block_keys + panel * wide
                weight = emit.bind(self._powers(scores, at, origin))
                if self.format.micro_kernel.group > 1:
                    first = (i * self.block_panels + panel) * self.panel_groups

                    def of_panel(_at: Expr, _count: int, weight: Value = weight) -> Value:
                        return weight

                    groups = self.format.groups_along(0, of_panel, self.panel_groups)
                    emit.store(weights, groups, [first], self.panel_groups)
                else:
                    emit.store(weights, weight, [at], wide)
                emit.store(sums, whole(sums) + weight, [0], wide)
            added = across(lambda a, b: a + b, vectors(sums), lanes)
            emit.store(total, total[row] * factor + added, [row])
            emit.store(largest, now, [row])
            emit.store(rescale, factor, [i])

    def _powers(self, scores: Buffer, at: Expr, origin: Value) -> Value:
        """2**(score - origin) of a row of a tile."""
        wide, lanes = self.scores.columns, self.lanes
        if not self.cpu.scales_exponents:
            shifted = emit.load(scores, [at], wide) - emit.broadcast(origin, wide)
            return expressions.exp2_nonpositive(shifted, emit.bind, wide)
        exp2 = powers.exp2 if self.format.exact else powers.exp2_coarse
        from_origin = [
            emit.load(scores, [at + j * lanes], lanes) - emit.broadcast(origin, lanes) for j in range(wide // lanes)
        ]
        return tirx.Shuffle([emit.bind(exp2(emit.bind(shifted))) for shifted in from_origin], list(range(wide)))

    def _results(
        self,
        weights: Buffer,
        packed: _Packed,
        result: Buffer,
        rescale: Buffer,
        outer: Expr,
        strip: Expr,
        first_panel: Expr,
        panels: Dim,
    ) -> None:
        """Rescales what was summed before, and adds the values of a block of keys."""
        tile = self.values
        row_groups = self.block_panels * self.panel_groups
        chunks = even_chunks(tile.unroll, panels * self.panel_groups)
        count = 1 if row_groups <= CHUNK else chunks.count
        with emit.serial(self.value_panels) as panel, emit.serial(count) as chunk:
            first, steps = chunks.bound(chunk)
            at = emit.bind(self._value_at(self._slot(outer, first_panel, 0), panel, first, 0))
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
                    place = self._result_at(strip * tile.rows + i, panel * tile.columns + j * tile.lanes)
                    earlier = emit.load(result, [place], tile.lanes) * emit.broadcast(factor, tile.lanes)
                    emit.store(result, earlier + accumulators(i, j), [place], tile.lanes)


def _same_for_all(dim: Dim) -> bool:
    """Whether a bias is broadcast along an axis."""
    return isinstance(dim, int) and dim == 1


def _plus_bias(score: Value, bias: Value, lanes: int) -> Value:
    """A score that is scaled by log2(e), and a bias that is not."""
    return expressions.fma(bias, emit.constant(expressions.LOG2_E, lanes), score)
