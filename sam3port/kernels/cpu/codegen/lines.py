"""Sums, maxima and elementwise work along lines of memory, in vectors with a scalar rest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value

Combine = Callable[[Value, Value], Value]

_UNROLL = 4
"""Independent sums: enough to hide the latency of an addition, and shorter chains for a more exact result."""
_CHAIN = 64
"""Additions one after the other: a longer line is a sum of such sums, so that its rounding errors do not add up."""
_TASK = 1 << 14
"""Elements of one task; less is not worth another thread."""


@contextlib.contextmanager
def each_row(rows: Dim, length: Dim, cores: int) -> Iterator[Expr]:
    """A parallel loop over lines of `length`: enough of them in a task to be worth it, and tasks for every core."""
    enough = max(1, _TASK // length) if isinstance(length, int) else 1
    count = min(enough, max(1, rows // (4 * cores))) if isinstance(rows, int) else enough
    with emit.parallel(emit.ceildiv(rows, count)) as task, emit.serial(emit.minimum(count, rows - task * count)) as i:
        yield emit.bind(task * count + i)


def across(combine: Combine, vectors: Sequence[Value], lanes: int) -> Value:
    """One number from vectors: pairwise, first across the vectors, then across the lanes."""
    remaining = list(vectors)
    while len(remaining) > 1:
        pairs = [combine(remaining[i], remaining[i + 1]) for i in range(0, len(remaining) - 1, 2)]
        remaining = [*pairs, *remaining[len(pairs) * 2 :]]
    value = emit.bind(remaining[0])
    while lanes > 2:
        lanes //= 2
        half = emit.vector_type(lanes)
        value = emit.bind(combine(tirx.vectorlow(half, value), tirx.vectorhigh(half, value)))
    if lanes == 1:
        return value
    # The low half of two lanes would be a vector of one lane to LLVM, which is no scalar.
    return combine(tirx.Shuffle([value], [0]), tirx.Shuffle([value], [1]))


def each(length: Dim, lanes: int, action: Callable[[Expr, int], None]) -> None:
    """Calls ``action(position, lanes)`` for all of a line: in vectors, then one by one."""
    if lanes > 1:
        with emit.serial(length // lanes) as i:
            action(i * lanes, lanes)
    rest = length % lanes if lanes > 1 else length
    if not (isinstance(rest, int) and rest == 0):
        with emit.serial(rest) as i:
            action(length - rest + i, 1)


def fold(length: Dim, lanes: int, value: Callable[[Expr, int], Value], combine: Combine, start: float) -> Value:
    """``combine`` over ``value(position, lanes)`` of a line; `start` is neutral."""
    sums = emit.scratch((_UNROLL * lanes,))
    rest = emit.scratch((1,))
    emit.store(rest, emit.constant(start), [0])

    def clear(held: Buffer) -> None:
        for u in range(_UNROLL):
            emit.store(held, emit.constant(start, lanes), [u * lanes], lanes)

    def add(u: int, position: Expr) -> None:
        held = emit.load(sums, [u * lanes], lanes)
        emit.store(sums, combine(held, value(position, lanes)), [u * lanes], lanes)

    def chain(first: Dim, count: Dim) -> None:
        with emit.serial(count) as i:
            for u in range(_UNROLL):
                add(u, (first + i) * step + u * lanes)

    step = _UNROLL * lanes
    steps = length // step
    clear(sums)
    if isinstance(steps, int) and steps <= _CHAIN:
        chain(0, steps)
    else:
        totals = emit.scratch((_UNROLL * lanes,))
        clear(totals)
        with emit.serial(emit.ceildiv(steps, _CHAIN)) as block:
            clear(sums)
            chain(block * _CHAIN, emit.minimum(_CHAIN, steps - block * _CHAIN))
            for u in range(_UNROLL):
                both = combine(emit.load(totals, [u * lanes], lanes), emit.load(sums, [u * lanes], lanes))
                emit.store(totals, both, [u * lanes], lanes)
        sums = totals
    if not (isinstance(length, int) and length % step == 0):
        done = length // step * step
        with emit.serial((length - done) // lanes) as i:
            add(0, done + i * lanes)
        if lanes > 1 and not (isinstance(length, int) and length % lanes == 0):
            with emit.serial(length % lanes) as i:
                emit.store(rest, combine(rest[0], value(length - length % lanes + i, 1)), [0])
    total = across(combine, [emit.load(sums, [u * lanes], lanes) for u in range(_UNROLL)], lanes)
    return emit.bind(combine(total, rest[0]))
