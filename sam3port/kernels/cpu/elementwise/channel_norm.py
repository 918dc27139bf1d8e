"""Layer norm over the channels of NCHW images: each pixel normalised over all channels, in one pass through memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.formats.cpu import Cpu

_VECTORS: Final = 4
"""Of pixels, side by side: two cache lines of each channel. With 256 channels they are 32 KiB, which stay in the cache
for the second and the third time that they are read."""
_CHAIN: Final = 32
"""Channels that are added up one after the other. Long chains of additions are inexact."""
_TASK: Final = 1 << 14
"""Elements of one task; less is not worth another thread."""


def channel_norm_func(
    batch: Dim, channels: int, pixels: int, epsilon: float, cpu: Cpu, steps: Epilogue = ()
) -> tirx.PrimFunc:
    """``(x[batch, channels, pixels], *operands, out)``: ``(x - mean) / sqrt(variance + epsilon)``, then `steps`.

    The variance is the mean of the squared deviations, so that nothing cancels. Vector operands of `steps` are
    [channels], tensor operands as large as the output.
    """
    shape = (batch, channels, pixels)

    def body(x: Buffer, *rest: Buffer) -> None:
        *extra, out = rest
        wide = _VECTORS * cpu.lanes
        span = emit.ceildiv(max(1, _TASK // channels), wide) * wide
        spans = emit.ceildiv(pixels, span)
        with emit.parallel(batch * spans) as task:
            item, first = emit.bind(task // spans), emit.bind(task % spans * span)
            own = emit.bind(emit.minimum(span, pixels - first))

            def block(start: Expr, vectors: int, lanes: int) -> None:
                _normalise(x, extra, out, item, start, (vectors, lanes), channels, epsilon, steps)

            with emit.serial(own // wide) as i:
                block(emit.bind(first + i * wide), _VECTORS, cpu.lanes)
            done = emit.bind(own // wide * wide)
            lines.each(own - done, cpu.lanes, lambda at, lanes: block(emit.bind(first + done + at), 1, lanes))

    parameters = [("x", shape), *epilogue.operand_shapes(steps, channels, shape), ("out", shape)]
    kernel = emit.Kernel("layer norm over channels", f"{_VECTORS} vectors of pixels at a time")
    return emit.primfunc(parameters, body, kernel=kernel)


def _normalise(
    x: Buffer,
    extra: list[Buffer],
    out: Buffer,
    item: Expr,
    start: Expr,
    size: tuple[int, int],
    channels: int,
    epsilon: float,
    steps: Epilogue,
) -> None:
    """`size`, vectors times lanes, pixels from `start` on."""
    vectors, lanes = size
    share = emit.constant(1.0 / channels, lanes)
    means, deviations = emit.scratch((vectors * lanes,)), emit.scratch((vectors * lanes,))

    def value(channel: Expr, j: Expr) -> Value:
        return emit.load(x, [item, channel, start + j * lanes], lanes)

    def mean(j: Expr) -> Value:
        return emit.load(means, [j * lanes], lanes)

    def squared(channel: Expr, j: int) -> Value:
        apart = emit.bind(value(channel, j) - mean(j))
        return apart * apart

    for j, total in enumerate(_sums(channels, vectors, lanes, value)):
        emit.store(means, total * share, [j * lanes], lanes)
    for j, total in enumerate(_sums(channels, vectors, lanes, squared)):
        emit.store(deviations, tirx.sqrt(total * share + emit.constant(epsilon, lanes)), [j * lanes], lanes)
    # Loops, not copies for each vector: a GELU is long.
    with emit.serial(channels) as channel, emit.serial(vectors) as vector:
        at = [item, channel, start + vector * lanes]
        result = (value(channel, vector) - mean(vector)) / emit.load(deviations, [vector * lanes], lanes)
        result = epilogue.apply(steps, extra, result, channel, at, lanes, feature_is_last=False)
        emit.store(out, result, at, lanes)


def _sums(channels: int, vectors: int, lanes: int, value: Callable[[Expr, int], Value]) -> list[Expr]:
    """Over the channels, one for each vector: sums of a few channels are summed, so that no chain is long."""
    totals = [emit.scratch((lanes,)) for _ in range(vectors)]
    for total in totals:
        emit.store(total, emit.constant(0.0, lanes), [0], lanes)

    def some(first: Expr, count: int) -> None:
        sums = [emit.scratch((lanes,)) for _ in range(vectors)]
        for j in range(vectors):
            emit.store(sums[j], value(first, j), [0], lanes)
        with emit.serial(count - 1) as i:
            for j in range(vectors):
                emit.store(sums[j], emit.load(sums[j], [0], lanes) + value(first + 1 + i, j), [0], lanes)
        for j in range(vectors):
            emit.store(totals[j], emit.load(totals[j], [0], lanes) + emit.load(sums[j], [0], lanes), [0], lanes)

    with emit.serial(channels // _CHAIN) as group:
        some(emit.bind(group * _CHAIN), _CHAIN)
    if channels % _CHAIN:
        some(channels - channels % _CHAIN, channels % _CHAIN)
    return [emit.load(total, [0], lanes) for total in totals]
