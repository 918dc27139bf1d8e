"""The schedules that are worth measuring: few decisions, each with few values, and only what fits the target."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, ProductSchedule
from sam3port.kernels.cpu.scheduling.tiles import TALLEST, WIDEST

if TYPE_CHECKING:
    from sam3port.kernels.cpu.attention.spec import AttentionSpec
    from sam3port.kernels.cpu.formats.cpu import Cpu

_UNROLL: Final = (2, 4, 8)
_BLOCK_ROWS: Final = (48, 96, 192, 384)
_HALVED_BLOCK_ROWS: Final = (144, 216, 288, 432, 648)
_CHUNK: Final = (64, 128, 256)
_WINDOW: Final = (1 << 14, 1 << 15, 1 << 16)
_BLOCK_QUERIES: Final = (48, 96, 192)
_BLOCK_KEYS: Final = (128, 256, 512)
_USED: Final = 0.5
"""Share of the registers that has to hold sums: fewer cannot hide a multiply-add's latency."""


def products(default: ProductSchedule, rows: int, columns: int, cpu: Cpu) -> Iterator[ProductSchedule]:
    """The default, then all others, whether they fit the caches and the product or not: the workload knows that.

    Args:
        default: its values are among those of each decision.
        rows: of the product.
        columns: of the product.
        cpu: the register tiles fit it.
    """
    yield default
    blocks = _distinct(_HALVED_BLOCK_ROWS if default.halvings else _BLOCK_ROWS, default.block_rows, rows)
    tiles = _tiles(default.rows, default.vectors, rows, columns, cpu)
    unrolled, chunks = sorted({*_UNROLL, default.unroll}), sorted({*_CHUNK, default.chunk})
    for (height, vectors), unroll, block, chunk, window in itertools.product(tiles, unrolled, blocks, chunks, _WINDOW):
        schedule = ProductSchedule(height, vectors, unroll, block, chunk, window, default.halvings)
        if schedule != default:
            yield schedule


def attentions(default: AttentionSchedule, spec: AttentionSpec, cpu: Cpu) -> Iterator[AttentionSchedule]:
    """The default, then all others, for lengths that are known."""
    yield default
    assert isinstance(spec.queries, int) and isinstance(spec.keys, int)
    queries = _distinct(_BLOCK_QUERIES, default.block_queries, spec.queries)
    keys = _distinct(_BLOCK_KEYS, default.block_keys, spec.keys)
    tiles = _tiles(default.rows, default.vectors, spec.queries, spec.keys, cpu)
    unrolled = sorted({*_UNROLL, default.unroll})
    for (height, vectors), unroll, block_queries, block_keys in itertools.product(tiles, unrolled, queries, keys):
        values = min(max(vectors, default.value_vectors), -(-spec.value_features // cpu.lanes))
        schedule = AttentionSchedule(height, vectors, values, unroll, block_queries, block_keys)
        if replace(schedule, value_vectors=min(values, vectors)).problem(cpu, spec.features, spec.value_features):
            continue
        if schedule.problem(cpu, spec.features, spec.value_features):
            schedule = replace(schedule, value_vectors=min(values, vectors))
        if schedule != default:
            yield schedule


def _tiles(rows: int, vectors: int, most_rows: int, columns: int, cpu: Cpu) -> list[tuple[int, int]]:
    """Heights and widths of register tiles: those that use the registers well and the product is large enough for."""
    widest = max(vectors, min(WIDEST, -(-columns // cpu.lanes)))
    enough = min(_USED * cpu.registers, rows * vectors)
    found = {(rows, vectors)}
    for width in range(1, widest + 1):
        tallest = min((cpu.registers - 1 - width) // width, TALLEST, most_rows)
        found |= {(height, width) for height in range(max(1, tallest - 2), tallest + 1) if height * width >= enough}
    return sorted(found)


def _distinct(sizes: tuple[int, ...], default: int, most: int) -> list[int]:
    """Those that make a difference: of all that hold everything, the smallest."""
    enough = [size for size in sorted({*sizes, default}) if size >= most]
    return [size for size in sorted({*sizes, default}) if size < most] + enough[:1]
