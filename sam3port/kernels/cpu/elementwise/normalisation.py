"""Layer norm, group norm and softmax: two passes over each line, so that nothing cancels.

TVM's own legalisation computes a variance as E[x^2] - E[x]^2 in float32, which loses digits when the mean is large.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue, expressions, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.formats.cpu import Cpu


def layer_norm_func(rows: Dim, length: int, epsilon: float, cpu: Cpu) -> tirx.PrimFunc:
    """``(x[rows, length], gamma[length], beta[length], out)``: each row normalised."""

    def body(x: Buffer, gamma: Buffer, beta: Buffer, out: Buffer) -> None:
        with lines.each_row(rows, length, cpu.cores) as row:
            mean, deviation = _moments(lambda at, n: emit.load(x, [row, at], n), length, epsilon, cpu.lanes)

            def write(at: Expr, n: int) -> None:
                centred = emit.load(x, [row, at], n) - emit.broadcast(mean, n)
                value = centred * emit.broadcast(deviation, n)
                emit.store(out, value * emit.load(gamma, [at], n) + emit.load(beta, [at], n), [row, at], n)

            lines.each(length, cpu.lanes, write)

    parameters = [
        ("x", (rows, length)),
        ("gamma", (length,)),
        ("beta", (length,)),
        ("out", (rows, length)),
    ]
    return emit.primfunc(parameters, body, kernel=emit.Kernel("layer norm", "two passes over each row"))


def _moments(load: Callable[[Expr, int], Value], length: int, epsilon: float, lanes: int) -> tuple[Value, Value]:
    """Mean and 1 / sqrt(variance + epsilon) of a line."""
    mean = emit.bind(lines.fold(length, lanes, load, operator.add, 0.0) * emit.constant(1.0 / length))

    def squared(at: Expr, n: int) -> Value:
        difference = emit.bind(load(at, n) - emit.broadcast(mean, n))
        return difference * difference

    variance = lines.fold(length, lanes, squared, operator.add, 0.0) * emit.constant(1.0 / length)
    return mean, emit.bind(emit.constant(1.0) / tirx.sqrt(variance + emit.constant(epsilon)))


def softmax_func(rows: Dim, length: Dim, cpu: Cpu) -> tirx.PrimFunc:
    """``(x[rows, length], out)``: softmax of each row; all -inf gives NaN, as in PyTorch."""

    def body(x: Buffer, out: Buffer) -> None:
        with lines.each_row(rows, length, cpu.cores) as row:
            largest = lines.fold(length, cpu.lanes, lambda at, n: emit.load(x, [row, at], n), tirx.max, float("-inf"))

            def weigh(at: Expr, n: int) -> None:
                shifted = emit.load(x, [row, at], n) - emit.broadcast(largest, n)
                emit.store(out, expressions.exp_nonpositive(shifted, emit.bind, n), [row, at], n)

            lines.each(length, cpu.lanes, weigh)
            total = lines.fold(length, cpu.lanes, lambda at, n: emit.load(out, [row, at], n), operator.add, 0.0)
            inverse = emit.bind(emit.constant(1.0) / total)

            def scale(at: Expr, n: int) -> None:
                emit.store(out, emit.load(out, [row, at], n) * emit.broadcast(inverse, n), [row, at], n)

            lines.each(length, cpu.lanes, scale)

    kernel = emit.Kernel("softmax", "three passes over each row")
    return emit.primfunc([("x", (rows, length)), ("out", (rows, length))], body, kernel=kernel)


def group_norm_func(
    batch: Dim, channels: int, size: int, groups: int, epsilon: float, cpu: Cpu, steps: Epilogue = ()
) -> tirx.PrimFunc:
    """``(x[batch, channels, size], gamma[channels], beta[channels], *operands, out)``: groups of channels normalised.

    Then `steps` on each value: vector operands are [channels], tensor operands as large as x.

    Each channel's mean and squared deviation first, in parallel, then those of the groups from them.
    """
    members = channels // groups
    shape = (batch, channels, size)
    others = epilogue.operand_shapes(steps, channels, shape)

    def body(x: Buffer, gamma: Buffer, beta: Buffer, *rest: Buffer) -> None:
        *extra, out = rest
        means = emit.scratch((batch * channels,))
        squares = emit.scratch((batch * channels,))
        with emit.parallel(batch * channels) as task:
            item, channel = task // channels, task % channels

            def load(at: Expr, n: int) -> Value:
                return emit.load(x, [item, channel, at], n)

            mean = emit.bind(lines.fold(size, cpu.lanes, load, operator.add, 0.0) * emit.constant(1.0 / size))

            def squared(at: Expr, n: int) -> Value:
                difference = emit.bind(load(at, n) - emit.broadcast(mean, n))
                return difference * difference

            emit.store(means, mean, [task])
            emit.store(squares, lines.fold(size, cpu.lanes, squared, operator.add, 0.0), [task])

        with emit.parallel(batch * channels) as task:
            item, channel = task // channels, task % channels
            first = emit.bind(item * channels + channel // members * members)
            mean = emit.bind(
                lines.fold(members, 1, lambda at, _n: means[first + at], operator.add, 0.0)
                * emit.constant(1.0 / members)
            )

            def share(at: Expr, _n: int) -> Value:
                apart = emit.bind(means[first + at] - mean)
                return squares[first + at] * emit.constant(1.0 / size) + apart * apart

            variance = lines.fold(members, 1, share, operator.add, 0.0) * emit.constant(1.0 / members)
            scale = emit.bind(gamma[channel] / tirx.sqrt(variance + emit.constant(epsilon)))

            def write(at: Expr, n: int) -> None:
                centred = emit.load(x, [item, channel, at], n) - emit.broadcast(mean, n)
                value = centred * emit.broadcast(scale, n) + emit.broadcast(beta[channel], n)
                place = [item, channel, at]
                value = epilogue.apply(steps, extra, value, channel, place, n, feature_is_last=False)
                emit.store(out, value, place, n)

            lines.each(size, cpu.lanes, write)

    kernel = emit.Kernel("group norm", "two passes over each channel")
    parameters = [("x", shape), ("gamma", (channels,)), ("beta", (channels,)), *others, ("out", shape)]
    return emit.primfunc(parameters, body, kernel=kernel)
