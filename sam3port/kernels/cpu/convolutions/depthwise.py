"""Convolutions of each channel by itself (as many groups as channels, one filter each, stride 1).

There is no product in them: 49 multiplications a pixel for a 7x7 filter, and as many reads. So each channel's image
is copied once into a frame of zeros, which then takes no branch, and a line of output is summed in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sam3port.kernels.cpu.codegen import emit, epilogue, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.formats.cpu import Cpu

_SUMS: Final = 8
"""Vectors of one line that are summed together: as many as hide an addition's latency, and fit into registers."""


@dataclass(frozen=True, slots=True)
class DepthwiseSpec:
    """Only the batch may be symbolic."""

    batch: Dim
    """Images; may be symbolic."""
    channels: int
    """Channels of the input."""
    height: int
    """Height of the input in pixels."""
    width: int
    """Width of the input in pixels."""
    kernel: tuple[int, int]
    """Height and width of the kernel."""
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Rows and columns of zeros at the top, on the left, at the bottom, on the right."""
    dilation: tuple[int, int] = (1, 1)
    """Pixels between two elements of the kernel, down and to the right."""

    @property
    def out_height(self) -> int:
        return self.height + self.padding[0] + self.padding[2] - self.dilation[0] * (self.kernel[0] - 1)

    @property
    def out_width(self) -> int:
        return self.width + self.padding[1] + self.padding[3] - self.dilation[1] * (self.kernel[1] - 1)


def depthwise_func(spec: DepthwiseSpec, cpu: Cpu, steps: Epilogue = ()) -> emit.Expr:
    """``(x[batch, channels, height, width], weight[channels, kh, kw], *operands, out[batch, channels, pixels])``.

    Vector operands of `steps` are [channels], tensor operands as large as the output.
    """
    lanes = cpu.lanes
    out_shape = (spec.batch, spec.channels, spec.out_height * spec.out_width)
    vectors = -(-spec.out_width // lanes)
    frame_width = vectors * lanes + spec.dilation[1] * (spec.kernel[1] - 1)
    frame_height = spec.out_height + spec.dilation[0] * (spec.kernel[0] - 1)

    def body(x: Buffer, weight: Buffer, *rest: Buffer) -> None:
        *extra, out = rest
        with tasks(spec.batch * spec.channels) as task:
            item, channel = emit.bind(task // spec.channels), emit.bind(task % spec.channels)
            frame = emit.scratch((frame_height * frame_width,))
            lines.each(
                frame_height * frame_width, lanes, lambda at, n: emit.store(frame, emit.constant(0.0, n), [at], n)
            )
            _put(spec, x, [item, channel], frame, frame_width, lanes)

            def write(y: Expr, column: Expr, value: Value, n: int) -> None:
                at = [item, channel, y * spec.out_width + column]
                value = epilogue.apply(steps, extra, value, channel, at, n, feature_is_last=False)
                emit.store(out, value, at, n)

            with emit.serial(spec.out_height) as y:
                for first in range(0, vectors, _SUMS):
                    count = min(_SUMS, vectors - first)
                    sums = [emit.scratch((lanes,)) for _ in range(count)]
                    for each in sums:
                        emit.store(each, emit.constant(0.0, lanes), [0], lanes)
                    with emit.serial(spec.kernel[0]) as dy:
                        line = emit.bind((y + dy * spec.dilation[0]) * frame_width + first * lanes)
                        for dx in range(spec.kernel[1]):
                            factor = emit.bind(emit.broadcast(weight[channel, dy, dx], lanes))
                            for j, each in enumerate(sums):
                                value = emit.load(frame, [line + dx * spec.dilation[1] + j * lanes], lanes)
                                emit.store(each, emit.load(each, [0], lanes) + factor * value, [0], lanes)
                    for j, each in enumerate(sums):
                        column = (first + j) * lanes
                        if column + lanes <= spec.out_width:
                            write(y, column, emit.load(each, [0], lanes), lanes)
                        else:
                            with emit.serial(spec.out_width - column) as i:
                                write(y, column + i, each[i], 1)

    parameters = [
        ("x", (spec.batch, spec.channels, spec.height, spec.width)),
        ("weight", (spec.channels, *spec.kernel)),
        *epilogue.operand_shapes(steps, spec.channels, out_shape),
        ("out", out_shape),
    ]
    flops = 2 * spec.batch * spec.channels * spec.out_height * spec.out_width * spec.kernel[0] * spec.kernel[1]
    schedule = f"{min(_SUMS, vectors)} registers of {lanes}, a channel's image in a frame"
    return emit.primfunc(parameters, body, kernel=emit.Kernel("depthwise convolution", schedule, flops))


def _put(spec: DepthwiseSpec, x: Buffer, of: list[Expr], frame: Buffer, frame_width: int, lanes: int) -> None:
    """A channel's image into the frame; what negative padding cuts away, and what no output sees, stays outside."""
    top, left = spec.padding[:2]
    first, skipped = max(0, -top), max(0, -left)
    frame_height = spec.out_height + spec.dilation[0] * (spec.kernel[0] - 1)
    rows = min(spec.height - first, frame_height - max(0, top))
    columns = min(spec.width - skipped, frame_width - max(0, left))
    with emit.serial(max(0, rows)) as row:

        def copy(at: Expr, n: int, row: Expr = row) -> None:
            place = (row + max(0, top)) * frame_width + max(0, left) + at
            emit.store(frame, emit.load(x, [*of, row + first, at + skipped], n), [place], n)

        lines.each(max(0, columns), lanes, copy)
