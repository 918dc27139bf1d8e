"""Transposed convolutions whose stride is their kernel: every pixel becomes a block that no other one reaches.

So this is a product, too, with ``features * kh * kw`` rows. Sums of neighbouring rows belong into neighbouring pixels:
where the width allows it they are shuffled together in registers, and what follows is done on whole vectors of them.
"""

from __future__ import annotations

import math

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Parameter, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.convolutions.convolution import channel_chunks, emit_panels, packed_rows_shape
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import TileSums
from sam3port.kernels.cpu.products.product import gather_panel, write_tile
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule, convolution_schedule


def piece_of_line(width: int, kernel_width: int, lanes: int) -> int | None:
    """So many neighbours of a line of `width` pixels, wherever they begin, become whole vectors of results.

    None: no number does.
    """
    piece = math.gcd(width, lanes)
    return piece if piece * kernel_width % lanes == 0 else None


def transposed_convolution_func(
    batch: Dim,
    channels: int,
    size: tuple[int, int],
    features: int,
    kernel: tuple[int, int],
    arithmetic: Arithmetic,
    steps: Epilogue = (),
    schedule: ProductSchedule | None = None,
) -> tirx.PrimFunc:
    """``(x[batch, channels, h, w], packed, *operands, out[batch, features, h * kh, w * kw])``, stride = kernel.

    Vector operands of `steps` are [features], tensor operands as large as the output.
    """
    height, width = size
    kh, kw = kernel
    rows, pixels = features * kh * kw, height * width
    schedule = schedule or convolution_schedule(rows, pixels, arithmetic.cpu)
    tile = schedule.tile(arithmetic)
    groups = arithmetic.format.groups(channels)
    shape = (batch, features, height * kh, width * kw)
    others = epilogue.operand_shapes(steps, features, shape)
    piece = piece_of_line(width, kw, tile.lanes) if tile.rows % kw == 0 else None

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest

        def store(value: Value, place: list[Expr], lanes: int) -> None:
            value = epilogue.apply(steps, extra, value, place[1], place, lanes, feature_is_last=False)
            emit.store(out, value, place, lanes)

        def place(item: Expr, row: Expr, pixel: Expr) -> list[Expr]:
            y, column = pixel // width, pixel % width
            return [item, row // (kh * kw), y * kh + row // kw % kh, column * kw + row % kw]

        def lines(item: Expr, top: Expr, left: Expr, sums: TileSums, piece: int) -> None:
            sums.to_memory()
            groups = emit.minimum(tile.rows, rows - top) // kw
            pieces = emit.minimum(tile.columns, pixels - left) // piece
            with emit.serial(groups) as group, emit.serial(pieces) as part:
                first = [emit.bind(index) for index in place(item, top + group * kw, left + part * piece)]
                start = emit.bind(sums.start + group * (kw * tile.columns) + part * piece)
                beside = [emit.bind(emit.load(sums.memory, [start + i * tile.columns], piece)) for i in range(kw)]
                for done in range(0, piece * kw, tile.lanes):
                    order = [at % kw * piece + at // kw for at in range(done, done + tile.lanes)]
                    store(tirx.Shuffle(beside, order), [*first[:3], first[3] + done], tile.lanes)

        def pixel_by_pixel(item: Expr, top: Expr, left: Expr, sums: TileSums) -> None:
            def write(row: Expr, pixel: Expr, value: Value, lanes: int) -> None:
                line = emit.scratch((lanes,))
                together = not any(step in epilogue.TENSOR_STEPS for step in steps)
                if together:
                    value = epilogue.apply(steps, extra, value, row // (kh * kw), [], lanes, feature_is_last=False)
                emit.store(line, value, [0], lanes)
                with emit.serial(lanes) as i:
                    at = place(item, row, pixel + i)
                    if together:
                        emit.store(out, line[i], at)
                    else:
                        store(line[i], at, 1)

            write_tile(tile, rows, pixels, top, left, sums, write, from_memory=True)

        def finish(item: Expr, top: Expr, left: Expr, sums: TileSums) -> None:
            if piece is None:
                pixel_by_pixel(item, top, left, sums)
            else:
                lines(item, top, left, sums, piece)

        def gather(item: Expr, pixel: Expr, patches: Buffer, first: Expr, steps: Dim) -> None:
            def neighbours(channel: Expr, pixel: Expr, lanes: int) -> Value:
                return emit.load(x, [item, channel, pixel], lanes)

            gather_panel(tile, arithmetic, (channels, pixels), pixel, first, steps, patches, neighbours)

        chunks = channel_chunks(schedule, groups)
        emit_panels(batch, rows, pixels, chunks, schedule, arithmetic, packed, gather=gather, finish=finish)

    parameters: list[Parameter] = [
        ("x", (batch, channels, pixels)),
        ("packed", packed_rows_shape(rows, groups, arithmetic, schedule), arithmetic.format.stored),
        *others,
        ("out", shape),
    ]
    flops = 2 * batch * rows * pixels * channels
    kernel_of = emit.Kernel("transposed convolution", f"{tile}, {arithmetic.format.described}", flops)
    return emit.primfunc(parameters, body, kernel=kernel_of)
