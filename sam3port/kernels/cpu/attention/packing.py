"""Keys and values packed in the order in which they are read: keys as panels of a weight, values as padded lines."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from sam3port.kernels.cpu.attention import rotary
from sam3port.kernels.cpu.attention.sizes import Packed, Sizes, Slot
from sam3port.kernels.cpu.codegen import emit, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Expr, Value
from sam3port.kernels.cpu.codegen.transpose import transposed


def rotated(rotations: Buffer | None, position: Expr, values: rotary.Line, feature: Expr, lanes: int) -> Value:
    """Features of a query or key, rotated by its position where the attention does that."""
    if rotations is None:
        return values(feature, lanes)
    return rotary.rotated(values, lambda at, count: emit.load(rotations, [position, at], count), feature, lanes)


def pack_panel_of_keys(
    sizes: Sizes,
    k: Buffer,
    v: Buffer,
    rotations: Buffer | None,
    packed: Packed,
    outer: Expr,
    panel: Expr,
    slot: Slot,
) -> None:
    """A panel of keys and their values."""
    spec, columns = sizes.spec, sizes.scores.columns
    batch, head = emit.bind(outer // spec.heads), emit.bind(outer % spec.heads)
    first = emit.bind(panel * columns)

    def key_features(key: Expr, feature: Expr, count: int) -> Value:
        def of_key(feature: Expr, count: int) -> Value:
            return emit.load(k, sizes.operand_at(1, batch, head, first + key, feature), count)

        return rotated(rotations, first + key, of_key, feature, count)

    def value(key: Expr, feature: Expr, count: int) -> Value:
        return emit.load(v, sizes.operand_at(2, batch, head, first + key, feature), count)

    def keys_place(group: Expr, key: Expr) -> list[Expr]:
        return [sizes.key_at(slot, group, key)]

    def values_place(group: Expr, feature: Expr) -> list[Expr]:
        return [sizes.value_at(slot, feature // sizes.values.columns, group, feature % sizes.values.columns)]

    def whole() -> None:
        _turn_keys(sizes, key_features, packed.keys, keys_place)
        with emit.serial(sizes.panel_groups) as group:

            def copy(feature: Expr, count: int, group: Expr = group) -> None:
                numbers = sizes.format.group(columns, group, lambda key: value(key, feature, count), count)
                emit.store(packed.values, numbers, values_place(group, feature), count)

            lines.each(spec.value_features, sizes.lanes, copy)
            with emit.serial(sizes.padded_values - spec.value_features) as rest:
                place = values_place(group, spec.value_features + rest)
                emit.store(packed.values, sizes.format.zero(), place)

    def ragged() -> None:
        def key_or_zero(key: Expr, feature: Expr) -> Value:
            there = first + key < spec.keys
            return tirx.if_then_else(there, key_features(key, feature, 1), emit.constant(0.0))

        def value_or_zero(key: Expr, feature: Expr) -> Value:
            there = tirx.all(first + key < spec.keys, feature < spec.value_features)
            return tirx.if_then_else(there, value(key, feature, 1), emit.constant(0.0))

        with emit.serial(columns) as key, emit.serial(sizes.groups) as group:
            numbers = sizes.format.group(spec.features, group, lambda feature: key_or_zero(key, feature))
            emit.store(packed.keys, numbers, keys_place(group, key))
        with emit.serial(sizes.panel_groups) as group, emit.serial(sizes.padded_values) as feature:
            numbers = sizes.format.group(columns, group, lambda key: value_or_zero(key, feature))
            emit.store(packed.values, numbers, values_place(group, feature))

    full = isinstance(spec.keys, int) and spec.keys % columns == 0
    emit.when(True if full else first + columns <= spec.keys, whole, ragged)


def _turn_keys(
    sizes: Sizes,
    key_features: Callable[[Expr, Expr, int], Value],
    packed: Buffer,
    place: Callable[[Expr, Expr], list[Expr]],
) -> None:
    """A panel of keys, from rows of features to lines of keys."""
    features, lanes = sizes.spec.features, sizes.lanes
    blocks = sizes.full_groups // lanes
    with emit.serial(blocks) as block, emit.serial(sizes.scores.vectors) as j:
        group, key = block * lanes, j * lanes

        def along(i: int, key: Expr = key, group: Expr = group) -> Value:
            return sizes.format.groups_along(group, lambda at, count: key_features(key + i, at, count), lanes)

        for i, column in enumerate(transposed([emit.bind(along(i)) for i in range(lanes)])):
            emit.store(packed, column, place(group + i, key), lanes)
    with emit.serial(sizes.scores.columns) as key, emit.serial(sizes.groups - blocks * lanes) as rest:
        group = blocks * lanes + rest
        numbers = sizes.format.group(features, group, lambda feature: key_features(key, feature, 1))
        emit.store(packed, numbers, place(group, key))
