"""Convolutions of NCHW images as products ``weight[features, K] @ patches[K, pixels]``.

Here the weight is the left operand, packed once in panels of a few output features, and the vectors run along the
pixels, which are contiguous in the output. A chunk of the patches of a panel of pixels is gathered for a block of
features, in the nearest cache; a vector of pixels that lies in one row of the image is copied as a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu import emit, epilogue
from sam3port.kernels.cpu.blocked import Block, Chunks, emit_block, even_chunks, window_panels
from sam3port.kernels.cpu.emit import Buffer, Dim, Expr
from sam3port.kernels.cpu.epilogue import Epilogue
from sam3port.kernels.cpu.gemm import write_tile
from sam3port.kernels.cpu.schedules import ProductSchedule, convolution_schedule
from sam3port.kernels.cpu.tasks import tasks
from sam3port.kernels.cpu.vector_unit import RegisterTile, VectorUnit


@dataclass(frozen=True, slots=True)
class ConvolutionSpec:
    """A convolution with one group. Only the batch may be symbolic."""

    batch: Dim
    channels: int
    height: int
    width: int
    features: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right"""
    dilation: tuple[int, int] = (1, 1)

    @property
    def depth(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.channels

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


def packed_rows_shape(rows: int, depth: int, unit: VectorUnit, schedule: ProductSchedule | None = None) -> tuple[int]:
    height = (schedule or convolution_schedule(rows, None, unit)).rows
    return (emit.ceildiv(rows, height) * depth * height,)


def pack_convolution(
    weight: npt.NDArray[np.float32], unit: VectorUnit, schedule: ProductSchedule | None = None
) -> npt.NDArray[np.float32]:
    """``weight[features, channels, kh, kw]`` in panels of features, on the host, as `pack_convolution_func`."""
    features, channels, kh, kw = weight.shape
    flat = weight.transpose(2, 3, 1, 0).reshape(kh * kw * channels, features)
    schedule = schedule or convolution_schedule(features, None, unit)
    return _pack_rows(flat, _chunks(schedule, channels, (kh, kw)), schedule)


def pack_transposed(
    weight: npt.NDArray[np.float32], unit: VectorUnit, schedule: ProductSchedule | None = None
) -> npt.NDArray[np.float32]:
    """``weight[channels, features, kh, kw]`` of a transposed convolution, as `pack_transposed_func`."""
    channels, *rows = weight.shape
    schedule = schedule or convolution_schedule(math.prod(rows), None, unit)
    return _pack_rows(weight.reshape(channels, -1), _channel_chunks(schedule, channels), schedule)


def _pack_rows(flat: npt.NDArray[np.float32], chunks: Chunks, schedule: ProductSchedule) -> npt.NDArray[np.float32]:
    depth, rows = flat.shape
    height = schedule.rows
    panels = emit.ceildiv(rows, height)
    padded = np.zeros((depth, panels * height), dtype=np.float32)
    padded[:, :rows] = flat
    pieces = (padded[first : first + steps] for first, steps in chunks.known())
    return np.concatenate([piece.reshape(len(piece), panels, height).transpose(1, 0, 2).ravel() for piece in pieces])


def _packed_at(rows: int, tile: RegisterTile, panel: Expr, first: Expr, steps: Dim, step: Expr) -> Expr:
    """Where a panel's features of one step begin: chunk after chunk, in each the panels one after the other."""
    return (first * emit.ceildiv(rows, tile.rows) + panel * steps + step) * tile.rows


def pack_convolution_func(
    features: int, channels: int, kernel: tuple[int, int], unit: VectorUnit, schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(weight[features, channels, kh, kw]) -> packed[chunk, panel, (y, x, channel), feature]``."""
    kh, kw = kernel

    def value(weight: Buffer, step: Expr, row: Expr) -> Expr:
        return weight[row, step % channels, step // channels // kw, step // channels % kw]

    schedule = schedule or convolution_schedule(features, None, unit)
    chunks = _chunks(schedule, channels, kernel)
    return _pack_func(features, kh * kw * channels, chunks, (features, channels, kh, kw), value, unit, schedule)


def pack_transposed_func(
    channels: int, features: int, kernel: tuple[int, int], unit: VectorUnit, schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(weight[channels, features, kh, kw]) -> packed[chunk, panel, channel, (feature, y, x)]``."""
    kh, kw = kernel

    def value(weight: Buffer, step: Expr, row: Expr) -> Expr:
        return weight[step, row // (kh * kw), row // kw % kh, row % kw]

    schedule = schedule or convolution_schedule(features * kh * kw, None, unit)
    chunks = _channel_chunks(schedule, channels)
    return _pack_func(features * kh * kw, channels, chunks, (channels, features, kh, kw), value, unit, schedule)


def _pack_func(
    rows: int,
    depth: int,
    chunks: Chunks,
    shape: tuple[int, ...],
    value: Callable[[Buffer, Expr, Expr], Expr],
    unit: VectorUnit,
    schedule: ProductSchedule,
) -> tirx.PrimFunc:
    tile = schedule.tile(unit.lanes)
    height = tile.rows

    def body(weight: Buffer, packed: Buffer) -> None:
        with emit.parallel(emit.ceildiv(rows, height)) as panel, emit.serial(chunks.count) as chunk:
            first, steps = chunks.bound(chunk)
            with emit.serial(steps) as step, emit.serial(height) as i:
                row = panel * height + i
                element = value(weight, first + step, row)
                if rows % height:
                    element = tirx.if_then_else(row < rows, element, emit.constant(0.0))
                emit.store(packed, element, [_packed_at(rows, tile, panel, first, steps, step) + i])

    kernel = emit.Kernel("pack weight", f"panels of {height} features")
    packed_shape = packed_rows_shape(rows, depth, unit, schedule)
    return emit.primfunc([("weight", shape), ("packed", packed_shape)], body, kernel=kernel)


def convolution_func(
    spec: ConvolutionSpec, unit: VectorUnit, steps: Epilogue = (), schedule: ProductSchedule | None = None
) -> tirx.PrimFunc:
    """``(x[batch, channels, height, width], packed, *operands, out)``, all NCHW.

    Vector operands of `steps` are [features], tensor operands as large as the output. `schedule` is computed from the
    shape, unless given; the weight has to be packed for it.
    """
    schedule = schedule or convolution_schedule(spec.features, spec.pixels, unit)
    tile = schedule.tile(unit.lanes)
    chunks = _chunks(schedule, spec.channels, spec.kernel)
    # The output as [batch, features, pixels]: the caller reshapes, which is free.
    operands = epilogue.operand_shapes(steps, spec.features, (spec.batch, spec.features, spec.pixels))

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest

        def write(item: Expr, feature: Expr, pixel: Expr, value: Expr, lanes: int) -> None:
            at = [item, feature, pixel]
            value = epilogue.apply(steps, extra, value, feature, at, lanes, feature_is_last=False)
            emit.store(out, value, at, lanes)

        _emit_panels(
            spec.batch, spec.features, spec.pixels, chunks, schedule, unit, packed,
            gather=lambda *at: _gather(spec, schedule, tile, x, *at),
            write=write,
            from_memory=any(step in epilogue.EXPENSIVE_STEPS for step in steps),
        )  # fmt: skip

    parameters = [
        ("x", (spec.batch, spec.channels, spec.height, spec.width)),
        ("packed", packed_rows_shape(spec.features, spec.depth, unit, schedule)),
        *operands,
        ("out", (spec.batch, spec.features, spec.pixels)),
    ]
    flops = 2 * spec.batch * spec.pixels * spec.depth * spec.features
    kernel = emit.Kernel("convolution", f"{tile}, weight packed, patches gathered in chunks", flops)
    return emit.primfunc(parameters, body, kernel=kernel)


def transposed_convolution_func(
    batch: Dim,
    channels: int,
    size: tuple[int, int],
    features: int,
    kernel: tuple[int, int],
    unit: VectorUnit,
    steps: Epilogue = (),
    schedule: ProductSchedule | None = None,
) -> tirx.PrimFunc:
    """``(x[batch, channels, h, w], packed, *operands, out[batch, features, h * kh, w * kw])``, stride = kernel.

    Every pixel becomes a block of kh x kw pixels that no other one reaches, so this is a product, too, with
    features * kh * kw rows. Vector operands only.
    """
    height, width = size
    kh, kw = kernel
    rows, pixels = features * kh * kw, height * width
    schedule = schedule or convolution_schedule(rows, pixels, unit)
    tile = schedule.tile(unit.lanes)
    operands = epilogue.operand_shapes(steps, features, ())

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest

        def write(item: Expr, row: Expr, pixel: Expr, value: Expr, lanes: int) -> None:
            feature = row // (kh * kw)
            value = epilogue.apply(steps, extra, value, feature, [], lanes, feature_is_last=False)
            line = emit.scratch((lanes,))
            emit.store(line, value, [0], lanes)
            with emit.serial(lanes) as i:
                y, column = (pixel + i) // width, (pixel + i) % width
                emit.store(out, line[i], [item, feature, y * kh + row // kw % kh, column * kw + row % kw])

        def gather(item: Expr, pixel: Expr, patches: Buffer, first: Expr, steps: Dim) -> None:
            with emit.serial(steps) as channel:
                for j in range(tile.vectors):
                    start = pixel + j * tile.lanes
                    at = channel * tile.columns + j * tile.lanes

                    def whole(channel: Expr = channel, start: Expr = start, at: Expr = at) -> None:
                        emit.store(patches, emit.load(x, [item, first + channel, start], tile.lanes), [at], tile.lanes)

                    def ragged(channel: Expr = channel, start: Expr = start, at: Expr = at) -> None:
                        with emit.serial(tile.lanes) as i:
                            emit.store(patches, x[item, first + channel, tirx.min(start + i, pixels - 1)], [at + i])

                    full = pixels % tile.columns == 0
                    emit.when(True if full else start + tile.lanes <= pixels, whole, ragged)

        _emit_panels(
            batch, rows, pixels, _channel_chunks(schedule, channels), schedule, unit, packed,
            gather=gather, write=write, from_memory=True,
        )  # fmt: skip

    parameters = [
        ("x", (batch, channels, pixels)),
        ("packed", packed_rows_shape(rows, channels, unit, schedule)),
        *operands,
        ("out", (batch, features, height * kh, width * kw)),
    ]
    described = emit.Kernel("transposed convolution", f"{tile}, weight packed", 2 * batch * rows * pixels * channels)
    return emit.primfunc(parameters, body, kernel=described)


def _emit_panels(
    batch: Dim,
    rows: int,
    pixels: int,
    chunks: Chunks,
    schedule: ProductSchedule,
    unit: VectorUnit,
    packed: Buffer,
    *,
    gather: Callable[[Expr, Expr, Buffer, Expr, Dim], None],
    write: Callable[[Expr, Expr, Expr, Expr, int], None],
    from_memory: bool,
) -> None:
    """In parallel over windows of pixels (and blocks of features); a chunk of a panel's patches is gathered in L1.

    Args:
        gather: ``(item, first pixel, patches, first step, steps)``.
        write: ``(item, row, pixel, value, lanes)``.
    """
    tile = schedule.tile(unit.lanes)
    panels = emit.ceildiv(pixels, tile.columns)
    strips = emit.ceildiv(rows, tile.rows)
    block_strips = emit.ceildiv(strips, emit.ceildiv(rows, schedule.block_rows))
    width = window_panels(tile, block_strips, panels, schedule.window)
    if isinstance(batch, int):  # no core shall be idle
        width = max(1, min(width, batch * panels // (4 * unit.cores)))
        if batch * panels < 4 * unit.cores:
            block_strips = emit.ceildiv(strips, min(strips, emit.ceildiv(4 * unit.cores, batch * panels)))
    windows, row_blocks = emit.ceildiv(panels, width), emit.ceildiv(strips, block_strips)
    with tasks(batch * windows * row_blocks) as task:
        item = emit.bind(task // row_blocks // windows)
        left = emit.bind((task // row_blocks % windows) * width)
        first_strip = emit.bind((task % row_blocks) * block_strips)
        own = emit.bind(emit.minimum(width, panels - left))
        own_strips = emit.bind(emit.minimum(block_strips, strips - first_strip))
        patches = emit.scratch((chunks.steps * tile.columns,))
        block = Block(tile, block_strips, emit.scratch((width * block_strips * tile.rows * tile.columns,)))

        emit_block(
            block, own_strips, own, chunks,
            row=lambda strip, first, steps, step, i: packed[
                _packed_at(rows, tile, first_strip + strip, first, steps, step) + i
            ],
            column=lambda _panel, _first, step, j: emit.load(
                patches, [step * tile.columns + j * tile.lanes], tile.lanes
            ),
            gather=lambda panel, first, steps: gather(item, (left + panel) * tile.columns, patches, first, steps),
        )  # fmt: skip
        with emit.serial(own_strips) as strip, emit.serial(own) as panel:
            top, column = (first_strip + strip) * tile.rows, (left + panel) * tile.columns
            write_tile(
                tile, rows, pixels, top, column, block.at(strip, panel),
                lambda i, c, value, lanes: write(item, i, c, value, lanes),
                from_memory=from_memory,
            )  # fmt: skip


def _channel_chunks(schedule: ProductSchedule, channels: int) -> Chunks:
    return even_chunks(schedule.unroll, channels, schedule.chunk)


def _chunks(schedule: ProductSchedule, channels: int, kernel: tuple[int, int]) -> Chunks:
    """Some channels at one position of the kernel, or some positions with all their channels."""
    positions = kernel[0] * kernel[1]
    if channels > schedule.chunk:
        parts = _channel_chunks(schedule, channels)

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
    tile: RegisterTile,
    x: Buffer,
    item: Expr,
    first: Expr,
    patches: Buffer,
    first_step: Expr,
    steps: Dim,
) -> None:
    """A chunk of the patches of a panel: ``patches[k - first_step, pixel]``, zero outside the image."""
    kw = spec.kernel[1]
    lanes = tile.lanes
    cut = spec.channels > schedule.chunk
    first_channel = first_step % spec.channels if cut else 0
    channels = steps if cut else spec.channels
    # Each kernel position and each vector of pixels is handled for all channels at once.
    with emit.serial(1 if cut else steps // spec.channels) as place, emit.serial(tile.vectors) as j:
        position = emit.bind(first_step // spec.channels + place)
        dy = position // kw * spec.dilation[0] - spec.padding[0]
        dx = position % kw * spec.dilation[1] - spec.padding[1]
        start = emit.bind(first + j * lanes)
        row, column = emit.bind(start // spec.out_width), emit.bind(start % spec.out_width)
        y, left = emit.bind(row * spec.stride[0] + dy), emit.bind(column * spec.stride[1] + dx)
        line = emit.bind(place * spec.channels)

        def copied(j: Expr = j, y: Expr = y, left: Expr = left, line: Expr = line) -> None:
            with emit.serial(channels) as channel:
                at = (line + channel) * tile.columns + j * lanes
                emit.store(patches, emit.load(x, [item, first_channel + channel, y, left], lanes), [at], lanes)

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
                    with emit.serial(channels) as channel:
                        at = (line + channel) * tile.columns + j * lanes + i
                        emit.store(patches, x[item, first_channel + channel, source_y, source_x], [at])

                def zero() -> None:
                    with emit.serial(channels) as channel:
                        emit.store(patches, emit.constant(0.0), [(line + channel) * tile.columns + j * lanes + i])

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
