"""Convolutions of NCHW images as products ``weight[features, K] @ patches[K, pixels]``.

Here the weight is the left operand, packed once in panels of a few output features, and the vectors run along the
pixels, which are contiguous in the output. A chunk of the patches of a panel of pixels is gathered for a block of
features, in the nearest cache; a vector of pixels that lies in one row of the image is copied as a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Parameter, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import RegisterTile, TileSums
from sam3port.kernels.cpu.products.blocked import Block, Chunks, emit_block, even_chunks, window_panels
from sam3port.kernels.cpu.products.product import write_tile
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule, convolution_schedule

Element = Callable[..., Value]


@dataclass(frozen=True, slots=True)
class ConvolutionSpec:
    """A convolution with one group. Only the batch may be symbolic."""

    batch: Dim
    """Images; may be symbolic."""
    channels: int
    """Channels of the input."""
    height: int
    """Height of the input in pixels."""
    width: int
    """Width of the input in pixels."""
    features: int
    """Channels of the output."""
    kernel: tuple[int, int]
    """Height and width of the kernel."""
    stride: tuple[int, int] = (1, 1)
    """Pixels between two positions of the kernel, down and to the right."""
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Rows and columns of zeros at the top, on the left, at the bottom, on the right."""
    dilation: tuple[int, int] = (1, 1)
    """Pixels between two elements of the kernel, down and to the right."""

    @property
    def depth(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.channels

    def groups(self, arithmetic: Arithmetic) -> int:
        """The depth in groups (see `formats.format`), which are of channels, not of positions of the kernel."""
        groups: int = arithmetic.format.groups(self.channels)
        return self.kernel[0] * self.kernel[1] * groups

    @property
    def out_height(self) -> int:
        span = self.dilation[0] * (self.kernel[0] - 1) + 1
        return (self.height + self.padding[0] + self.padding[2] - span) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        span = self.dilation[1] * (self.kernel[1] - 1) + 1
        return (self.width + self.padding[1] + self.padding[3] - span) // self.stride[1] + 1

    @property
    def pixels(self) -> int:
        return self.out_height * self.out_width


def packed_rows_shape(
    rows: int, groups: int, arithmetic: Arithmetic, schedule: ProductSchedule | None = None
) -> tuple[int]:
    """Of a weight of that depth in groups; its type is `Format.stored`."""
    height = (schedule or convolution_schedule(rows, None, arithmetic.cpu)).rows
    return (emit.ceildiv(rows, height) * groups * height,)


def pack_convolution(
    weight: npt.NDArray[np.float32], arithmetic: Arithmetic, schedule: ProductSchedule | None = None
) -> npt.NDArray[Any]:
    """``weight[features, channels, kh, kw]`` in panels of features, on the host, as `pack_convolution_func`."""
    features, channels, kh, kw = weight.shape
    groups = arithmetic.format.on_host(weight.transpose(2, 3, 1, 0), 2)
    schedule = schedule or convolution_schedule(features, None, arithmetic.cpu)
    chunks = _chunks(schedule, arithmetic.format.groups(channels), (kh, kw))
    return pack_rows_on_host(groups.reshape(-1, features), chunks, schedule)


def pack_transposed(
    weight: npt.NDArray[np.float32], arithmetic: Arithmetic, schedule: ProductSchedule | None = None
) -> npt.NDArray[Any]:
    """``weight[channels, features, kh, kw]`` of a transposed convolution, as `pack_transposed_func`."""
    channels, *rows = weight.shape
    schedule = schedule or convolution_schedule(math.prod(rows), None, arithmetic.cpu)
    groups = arithmetic.format.on_host(weight.reshape(channels, -1), 0)
    return pack_rows_on_host(groups, channel_chunks(schedule, len(groups)), schedule)


def pack_rows_on_host(flat: npt.NDArray[Any], chunks: Chunks, schedule: ProductSchedule) -> npt.NDArray[Any]:
    """``flat[step, row]`` in panels of rows, chunk after chunk, see `packed_at`."""
    depth, rows = flat.shape
    height = schedule.rows
    panels = emit.ceildiv(rows, height)
    padded = np.zeros((depth, panels * height), flat.dtype)
    padded[:, :rows] = flat
    pieces = (padded[first : first + steps] for first, steps in chunks.known())
    return np.concatenate([piece.reshape(len(piece), panels, height).transpose(1, 0, 2).ravel() for piece in pieces])


def packed_at(rows: int, tile: RegisterTile, panel: Expr, first: Expr, steps: Dim, step: Expr) -> Expr:
    """Where a panel's features of one step begin: chunk after chunk, in each the panels one after the other."""
    return (first * emit.ceildiv(rows, tile.rows) + panel * steps + step) * tile.rows


def pack_convolution_func(
    features: int,
    channels: int,
    kernel: tuple[int, int],
    arithmetic: Arithmetic,
    schedule: ProductSchedule | None = None,
) -> tirx.PrimFunc:
    """``(weight[features, channels, kh, kw]) -> packed[chunk, panel, (y, x, channel), feature]``."""
    kh, kw = kernel

    groups = arithmetic.format.groups(channels)

    def group(step: Expr, row: Expr, element: Element) -> Value:
        position = step // groups

        def of_channel(channel: Expr) -> Value:
            return element(row, row, channel, position // kw, position % kw)

        return arithmetic.format.weight_group(channels, step % groups, of_channel)

    schedule = schedule or convolution_schedule(features, None, arithmetic.cpu)
    chunks = _chunks(schedule, groups, kernel)
    return _pack_func(features, kh * kw * groups, chunks, (features, channels, kh, kw), group, arithmetic, schedule)


def pack_transposed_func(
    channels: int,
    features: int,
    kernel: tuple[int, int],
    arithmetic: Arithmetic,
    schedule: ProductSchedule | None = None,
) -> tirx.PrimFunc:
    """``(weight[channels, features, kh, kw]) -> packed[chunk, panel, channel, (feature, y, x)]``."""
    kh, kw = kernel

    groups = arithmetic.format.groups(channels)

    def group(step: Expr, row: Expr, element: Element) -> Value:
        def of_channel(channel: Expr) -> Value:
            return element(row, channel, row // (kh * kw), row // kw % kh, row % kw)

        return arithmetic.format.weight_group(channels, step, of_channel)

    schedule = schedule or convolution_schedule(features * kh * kw, None, arithmetic.cpu)
    chunks = channel_chunks(schedule, groups)
    return _pack_func(features * kh * kw, groups, chunks, (channels, features, kh, kw), group, arithmetic, schedule)


def _pack_func(
    rows: int,
    groups: int,
    chunks: Chunks,
    shape: tuple[int, ...],
    group: Callable[[Expr, Expr, Element], Value],
    arithmetic: Arithmetic,
    schedule: ProductSchedule,
) -> tirx.PrimFunc:
    """``group(step, row, element)`` for every step and row; ``element(row, *index)`` is a number of the weight."""
    tile = schedule.tile(arithmetic)
    height = tile.rows

    def body(weight: Buffer, packed: Buffer) -> None:
        def element(row: Expr, *index: Expr) -> Value:
            value = weight[index]
            return tirx.if_then_else(row < rows, value, emit.constant(0.0)) if rows % height else value

        with emit.parallel(emit.ceildiv(rows, height)) as panel, emit.serial(chunks.count) as chunk:
            first, steps = chunks.bound(chunk)
            with emit.serial(steps) as step, emit.serial(height) as i:
                at = packed_at(rows, tile, panel, first, steps, step) + i
                emit.store(packed, group(first + step, panel * height + i, element), [at])

    kernel = emit.Kernel("pack weight", f"panels of {height} features")
    packed_type = ("packed", packed_rows_shape(rows, groups, arithmetic, schedule), arithmetic.format.stored)
    return emit.primfunc([("weight", shape), packed_type], body, kernel=kernel)


def convolution_func(
    spec: ConvolutionSpec, arithmetic: Arithmetic, steps: Epilogue = (), schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(x[batch, channels, height, width], packed, *operands, out)``, all NCHW.

    Vector operands of `steps` are [features], tensor operands as large as the output. `schedule` is computed from the
    shape, unless given; the weight has to be packed for it.
    """
    schedule = schedule or convolution_schedule(spec.features, spec.pixels, arithmetic.cpu)
    tile = schedule.tile(arithmetic)
    chunks = _chunks(schedule, arithmetic.format.groups(spec.channels), spec.kernel)
    packed_shape = packed_rows_shape(spec.features, spec.groups(arithmetic), arithmetic, schedule)
    # The output as [batch, features, pixels]: the caller reshapes, which is free.
    others = epilogue.operand_shapes(steps, spec.features, (spec.batch, spec.features, spec.pixels))

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest

        def finish(item: Expr, top: Expr, left: Expr, sums: TileSums) -> None:
            def write(feature: Expr, pixel: Expr, value: Value, lanes: int) -> None:
                at = [item, feature, pixel]
                value = epilogue.apply(steps, extra, value, feature, at, lanes, feature_is_last=False)
                emit.store(out, value, at, lanes)

            from_memory = any(step in epilogue.EXPENSIVE_STEPS for step in steps)
            write_tile(tile, spec.features, spec.pixels, top, left, sums, write, from_memory=from_memory)

        emit_panels(
            spec.batch, spec.features, spec.pixels, chunks, schedule, arithmetic, packed,
            gather=lambda *at: _gather(spec, schedule, arithmetic, x, *at),
            finish=finish,
        )  # fmt: skip

    parameters: list[Parameter] = [
        ("x", (spec.batch, spec.channels, spec.height, spec.width)),
        ("packed", packed_shape, arithmetic.format.stored),
        *others,
        ("out", (spec.batch, spec.features, spec.pixels)),
    ]
    flops = 2 * spec.batch * spec.pixels * spec.depth * spec.features
    described = f"{tile}, {arithmetic.format.described}, patches gathered in chunks"
    kernel = emit.Kernel("convolution", described, flops)
    return emit.primfunc(parameters, body, kernel=kernel)


def emit_panels(
    batch: Dim,
    rows: int,
    pixels: int,
    chunks: Chunks,
    schedule: ProductSchedule,
    arithmetic: Arithmetic,
    packed: Buffer,
    *,
    gather: Callable[[Expr, Expr, Buffer, Expr, Dim], None],
    finish: Callable[[Expr, Expr, Expr, TileSums], None],
) -> None:
    """In parallel over windows of pixels (and blocks of features); a chunk of a panel's patches is gathered in L1.

    Args:
        gather: ``(item, first pixel, patches, first step, steps)``.
        finish: ``(item, first row, first pixel, sums)`` of a tile, which may stick out below and on the right.
    """
    tile = schedule.tile(arithmetic)
    panels = emit.ceildiv(pixels, tile.columns)
    strips = emit.ceildiv(rows, tile.rows)
    block_strips = emit.ceildiv(strips, emit.ceildiv(rows, schedule.block_rows))
    width = window_panels(tile, block_strips, panels, schedule.window)
    if isinstance(batch, int):  # no core shall be idle
        width = max(1, min(width, batch * panels // (4 * arithmetic.cpu.cores)))
        if batch * panels < 4 * arithmetic.cpu.cores:
            block_strips = emit.ceildiv(strips, min(strips, emit.ceildiv(4 * arithmetic.cpu.cores, batch * panels)))
    windows, row_blocks = emit.ceildiv(panels, width), emit.ceildiv(strips, block_strips)
    with arithmetic.instructions(), tasks(batch * windows * row_blocks) as task:
        item = emit.bind(task // row_blocks // windows)
        left = emit.bind((task // row_blocks % windows) * width)
        first_strip = emit.bind((task % row_blocks) * block_strips)
        own = emit.bind(emit.minimum(width, panels - left))
        own_strips = emit.bind(emit.minimum(block_strips, strips - first_strip))
        patches = emit.scratch((chunks.steps * tile.columns,), arithmetic.format.cached)
        block = Block(tile, block_strips, tile.scratch(width * block_strips))

        near = (
            emit.scratch((block_strips * chunks.steps * tile.rows,), arithmetic.format.cached)
            if arithmetic.format.widens
            else None
        )

        def widen(first: Expr, steps: Dim) -> None:
            """The chunk's weights of all strips, which lie one after the other."""
            start = emit.bind(packed_at(rows, tile, first_strip, first, steps, 0))

            def some(at: Expr, lanes: int) -> None:
                assert near is not None
                emit.store(near, arithmetic.format.widened(emit.load(packed, [start + at], lanes), lanes), [at], lanes)

            lines.each(own_strips * steps * tile.rows, tile.lanes, some)

        def weight(strip: Expr, first: Expr, steps: Dim, step: Expr, i: int) -> Value:
            if near is not None:
                return near[(strip * steps + step) * tile.rows + i]
            return packed[packed_at(rows, tile, first_strip + strip, first, steps, step) + i]

        emit_block(
            block, own_strips, own, chunks,
            row=weight,
            column=lambda _panel, _first, step, j: emit.load(
                patches, [step * tile.columns + j * tile.lanes], tile.lanes
            ),
            gather=lambda panel, first, steps: gather(item, (left + panel) * tile.columns, patches, first, steps),
            gather_rows=None if near is None else widen,
        )  # fmt: skip
        with emit.serial(own_strips) as strip, emit.serial(own) as panel:
            top, column = (first_strip + strip) * tile.rows, (left + panel) * tile.columns
            finish(item, top, column, block.at(strip, panel))


def channel_chunks(schedule: ProductSchedule, channels: int) -> Chunks:
    return even_chunks(schedule.unroll, channels, schedule.chunk)


def _chunks(schedule: ProductSchedule, channels: int, kernel: tuple[int, int]) -> Chunks:
    """Some channels at one position of the kernel, or some positions with all their channels; in groups of channels."""
    positions = kernel[0] * kernel[1]
    if channels > schedule.chunk:
        parts = channel_chunks(schedule, channels)

        def bounds(chunk: Expr) -> tuple[Expr, Dim]:
            first, steps = parts.bounds(chunk % parts.count)
            return chunk // parts.count * channels + first, steps

        return Chunks(positions * parts.count, parts.steps, bounds)
    together = min(positions, schedule.chunk // channels)

    def all_channels(chunk: Expr) -> tuple[Expr, Dim]:
        left = emit.minimum(together, positions - chunk * together) if positions % together else together
        return chunk * together * channels, left * channels

    return Chunks(emit.ceildiv(positions, together), together * channels, all_channels)


def _gather(
    spec: ConvolutionSpec,
    schedule: ProductSchedule,
    arithmetic: Arithmetic,
    x: Buffer,
    item: Expr,
    first: Expr,
    patches: Buffer,
    first_step: Expr,
    steps: Dim,
) -> None:
    """A chunk of the patches of a panel: ``patches[k - first_step, pixel]``, zero outside the image."""
    kw, tile = spec.kernel[1], schedule.tile(arithmetic)
    lanes = tile.lanes
    groups = arithmetic.format.groups(spec.channels)
    cut = groups > schedule.chunk
    first_group = first_step % groups if cut else 0
    own_groups = steps if cut else groups
    # Each kernel position and each vector of pixels is handled for all channels at once.
    with emit.serial(1 if cut else steps // groups) as place, emit.serial(tile.vectors) as j:
        position = emit.bind(first_step // groups + place)
        dy = position // kw * spec.dilation[0] - spec.padding[0]
        dx = position % kw * spec.dilation[1] - spec.padding[1]
        start = emit.bind(first + j * lanes)
        row, column = emit.bind(start // spec.out_width), emit.bind(start % spec.out_width)
        y, left = emit.bind(row * spec.stride[0] + dy), emit.bind(column * spec.stride[1] + dx)
        line = emit.bind(place * groups)

        def store(y: Expr, left: Expr, count: int, column: Expr, line: Expr = line) -> None:
            """`count` neighbours of the image, of all channels."""
            with emit.serial(own_groups) as group:
                value = arithmetic.format.group(
                    spec.channels, first_group + group, lambda c: emit.load(x, [item, c, y, left], count), count
                )
                emit.store(patches, value, [(line + group) * tile.columns + column], count)

        def copied(j: Expr = j, y: Expr = y, left: Expr = left) -> None:
            store(y, left, lanes, j * lanes)

        def picked(j: Expr = j, dy: Expr = dy, dx: Expr = dx, start: Expr = start, line: Expr = line) -> None:
            with emit.serial(lanes) as i:
                pixel = emit.bind(start + i)
                source_y = emit.bind(pixel // spec.out_width * spec.stride[0] + dy)
                source_x = emit.bind(pixel % spec.out_width * spec.stride[1] + dx)
                inside = tirx.all(
                    pixel < spec.pixels,
                    source_y >= 0,
                    source_y < spec.height,
                    source_x >= 0,
                    source_x < spec.width,
                )

                def take() -> None:
                    store(source_y, source_x, 1, j * lanes + i)

                def zero() -> None:
                    with emit.serial(own_groups) as group:
                        at = (line + group) * tile.columns + j * lanes + i
                        emit.store(patches, arithmetic.format.zero(), [at])

                emit.when(inside, take, zero)

        if spec.stride[1] != 1 or lanes == 1:
            picked()
        else:
            in_one_row = tirx.all(
                start + lanes <= spec.pixels,
                column + lanes <= spec.out_width,
                y >= 0,
                y < spec.height,
                left >= 0,
                left + lanes <= spec.width,
            )
            emit.when(in_one_row, copied, picked)
