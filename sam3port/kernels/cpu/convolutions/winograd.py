"""3x3 convolutions by minimal filtering: 16 multiplications for four pixels of the output where the plain sum has 36.

Tiles of the input, the weights and the products are transformed (`winograd_schemes`). What is between are products
``weight[features, channels] @ tiles[channels, tile]``, one for each position in a tile of the input. A task does
everything for some tiles, so that only the input, the weights and the output pass through memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Parameter, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec, pack_rows_on_host, packed_at
from sam3port.kernels.cpu.convolutions.winograd_schemes import F2, F4, Scheme
from sam3port.kernels.cpu.convolutions.winograd_tiles import Tiles, transform_inputs, transform_outputs
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import RegisterTile
from sam3port.kernels.cpu.products.blocked import Block, Chunks, emit_block, even_chunks
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule, convolution_schedule

_LEAST: Final = 32
"""Channels and features for which the transforms are a small part of the work."""
_LEAST_PIXELS: Final = 256


def fits(spec: ConvolutionSpec, cpu: Cpu) -> bool:
    """Whether a convolution can be computed so, and should."""
    return (
        (spec.kernel, spec.stride, spec.dilation) == ((3, 3), (1, 1), (1, 1))
        and min(spec.channels, spec.features) >= _LEAST
        and spec.pixels >= _LEAST_PIXELS
        and cpu.lanes > 1
    )


def scheme_for(arithmetic: Arithmetic) -> Scheme:
    """Fewer multiplications where a few digits of float32 are none of the result's.

    A build in bfloat16 has float32 here, too. Operands would have to be rounded after the transform, which costs
    more digits, and twice the multiplications of a CPU's instruction for bfloat16 gain less than a quarter of them do.
    """
    return F2 if arithmetic.format.exact else F4


def packed_shape(spec: ConvolutionSpec, arithmetic: Arithmetic) -> tuple[int]:
    """Of the transformed weight: 16 / 9 of the plain one's size, or four times it."""
    height = _schedule(spec, arithmetic.cpu).rows
    return (scheme_for(arithmetic).positions * emit.ceildiv(spec.features, height) * spec.channels * height,)


def pack_winograd(weight: npt.NDArray[np.float32], spec: ConvolutionSpec, arithmetic: Arithmetic) -> npt.NDArray[Any]:
    """``weight[features, channels, 3, 3]`` transformed, in panels for each position; as `pack_winograd_func`."""
    schedule = _schedule(spec, arithmetic.cpu)
    chunks = _chunks(spec, schedule)

    def rounded(value: Any) -> Any:
        return value.astype(np.float32)

    transformed = _spread(scheme_for(arithmetic), lambda y, x: weight[:, :, y, x].astype(np.float64), rounded)
    parts = [pack_rows_on_host(np.ascontiguousarray(each.T), chunks, schedule) for each in transformed]
    return np.concatenate(parts)


def pack_winograd_func(spec: ConvolutionSpec, arithmetic: Arithmetic) -> tirx.PrimFunc:
    """``(weight[features, channels, 3, 3]) -> packed[position, chunk, panel, channel, feature]``."""
    schedule = _schedule(spec, arithmetic.cpu)
    tile, chunks, scheme = _tile(schedule, arithmetic.cpu), _chunks(spec, schedule), scheme_for(arithmetic)
    features, channels, height = spec.features, spec.channels, tile.rows
    panels = emit.ceildiv(features, height)

    def body(weight: Buffer, packed: Buffer) -> None:
        with emit.parallel(panels) as panel, emit.serial(chunks.count) as chunk:
            first, steps = chunks.bound(chunk)
            with emit.serial(steps) as step, emit.serial(height) as i:
                feature = emit.bind(panel * height + i)

                def element(y: int, x: int, feature: Expr = feature, channel: Expr = first + step) -> Value:
                    value = weight[tirx.min(feature, features - 1), channel, y, x]
                    value = tirx.if_then_else(feature < features, value, emit.constant(0.0))
                    return emit.bind(tirx.Cast("float64", value))

                at = emit.bind(packed_at(features, tile, panel, first, steps, step) + i)
                values = _spread(scheme, element, lambda value: emit.bind(tirx.Cast("float32", value)))
                for position, value in enumerate(values):
                    emit.store(packed, value, [position * (panels * channels * height) + at])

    kernel = emit.Kernel("pack weight", f"transformed, panels of {height} features")
    return emit.primfunc(
        [("weight", (features, channels, 3, 3)), ("packed", packed_shape(spec, arithmetic))], body, kernel=kernel
    )


def winograd_func(spec: ConvolutionSpec, arithmetic: Arithmetic, steps: Epilogue = ()) -> tirx.PrimFunc:
    """``(x[batch, channels, height, width], packed, *operands, out[batch, features, pixels])``.

    As `sam3port.kernels.cpu.convolutions.convolution.convolution_func`, for what `fits`.
    """
    schedule, scheme = _schedule(spec, arithmetic.cpu), scheme_for(arithmetic)
    tile, chunks = _tile(schedule, arithmetic.cpu), _chunks(spec, schedule)
    channels, strips = spec.channels, emit.ceildiv(spec.features, tile.rows)
    tiles = Tiles(spec, scheme)
    panels = emit.ceildiv(tiles.count, tile.columns)
    width = min(panels, max(1, scheme.tiles // tile.columns))
    if isinstance(spec.batch, int):  # no core shall be idle
        width = max(1, min(width, spec.batch * panels // (4 * arithmetic.cpu.cores)))
    windows = emit.ceildiv(panels, width)
    position_size = strips * channels * tile.rows

    def body(x: Buffer, packed: Buffer, *rest: Buffer) -> None:
        *extra, out = rest
        with tasks(spec.batch * windows) as task:
            item, left = emit.bind(task // windows), emit.bind(task % windows * width)
            own = emit.bind(emit.minimum(width, panels - left))
            inputs = emit.scratch((scheme.positions * width * channels * tile.columns,))
            sums = emit.scratch((scheme.positions * width * strips * tile.rows * tile.columns,))

            def input_at(position: Expr, panel: Expr, channel: Expr, column: Expr) -> Expr:
                return ((position * width + panel) * channels + channel) * tile.columns + column

            def sum_at(position: int, panel: Expr, feature: Expr, column: Expr) -> Expr:
                return ((position * width + panel) * strips * tile.rows + feature) * tile.columns + column

            with emit.serial(own) as panel, emit.serial(tile.vectors) as j:

                def keep(position: int, channel: Expr, value: Value, panel: Expr = panel, j: Expr = j) -> None:
                    emit.store(inputs, value, [input_at(position, panel, channel, j * tile.lanes)], tile.lanes)

                start = emit.bind((left + panel) * tile.columns + j * tile.lanes)
                transform_inputs(spec, scheme, tiles, x, item, start, tile.lanes, keep)

            with emit.serial(scheme.positions) as position:

                def weight(
                    strip: Expr, first: Expr, steps: Dim, step: Expr, i: int, position: Expr = position
                ) -> Value:
                    at = packed_at(spec.features, tile, strip, first, steps, step) + i
                    return packed[position * position_size + at]

                def column(panel: Expr, first: Expr, step: Expr, j: int, position: Expr = position) -> Value:
                    return emit.load(inputs, [input_at(position, panel, first + step, j * tile.lanes)], tile.lanes)

                def element(panel: Expr, channel: Expr, column: Expr, position: Expr = position) -> Value:
                    return inputs[input_at(position, panel, channel, column)]

                block = Block(tile, strips, sums, position * width)
                emit_block(block, strips, own, chunks, row=weight, column=column, fetch=element)

            def write(feature: Expr, pixel: Expr, value: Value, lanes: int) -> None:
                at = [item, feature, pixel]
                value = epilogue.apply(steps, extra, value, feature, at, lanes, feature_is_last=False)
                emit.store(out, value, at, lanes)

            with emit.serial(own) as panel, emit.serial(tile.vectors) as j:

                def product(position: int, feature: Expr, panel: Expr = panel, j: Expr = j) -> Value:
                    return emit.load(sums, [sum_at(position, panel, feature, j * tile.lanes)], tile.lanes)

                start = emit.bind((left + panel) * tile.columns + j * tile.lanes)
                transform_outputs(spec, scheme, tiles, start, tile.lanes, product, write)

    parameters: list[Parameter] = [
        ("x", (spec.batch, channels, spec.height, spec.width)),
        ("packed", packed_shape(spec, arithmetic)),
        *epilogue.operand_shapes(steps, spec.features, (spec.batch, spec.features, spec.pixels)),
        ("out", (spec.batch, spec.features, spec.pixels)),
    ]
    flops = 2 * spec.batch * spec.pixels * spec.depth * spec.features
    kernel = emit.Kernel("convolution", f"{tile}, minimal filtering {scheme}", flops)
    return emit.primfunc(parameters, body, kernel=kernel)


def _schedule(spec: ConvolutionSpec, cpu: Cpu) -> ProductSchedule:
    return convolution_schedule(spec.features, None, cpu)


def _tile(schedule: ProductSchedule, cpu: Cpu) -> RegisterTile:
    """In float32 whatever the convolution's format is, see `scheme_for`."""
    return schedule.tile(Arithmetic(cpu, FLOAT32))


def _chunks(spec: ConvolutionSpec, schedule: ProductSchedule) -> Chunks:
    return even_chunks(schedule.unroll, spec.channels, schedule.chunk)


def _spread(scheme: Scheme, element: Callable[[int, int], Any], rounded: Callable[[Any], Any]) -> list[Any]:
    """A kernel's transform, line by line: by column first, then along each line, each time rounded to float32.

    Args:
        element: ``(line, column) -> weight`` in float64.
    """
    by_column = [
        [rounded(value).astype("float64") for value in scheme.weights([element(y, x) for y in range(3)])]
        for x in range(3)
    ]
    return [
        rounded(value)
        for line in range(scheme.side)
        for value in scheme.weights([column[line] for column in by_column])
    ]
