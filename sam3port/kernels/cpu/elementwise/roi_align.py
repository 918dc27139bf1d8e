"""Regions of an image, pooled to a small grid: sums with one weight for each row and one for each column.

A bin is the mean of bilinear samples on a grid, and a bilinear sample is a product of one in y and one in x. So the
weights of all rows of a bin's samples can be added up first, those of all columns too, and a channel costs two small
products instead of four reads for each sample. Semantics of torchvision's roi_align, not aligned
(torchvision/csrc/ops/cpu/roi_align_kernel.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.formats.cpu import Cpu

_CHANNELS: Final = 32
"""Of one task."""


@dataclass(frozen=True, slots=True)
class RoiAlignSpec:
    """Pooling of regions ``[item, x1, y1, x2, y2]``; the number of regions may be symbolic."""

    batch: int
    """Images; may be symbolic."""
    channels: int
    """Channels of the input."""
    height: int
    """Height of the input in pixels."""
    width: int
    """Width of the input in pixels."""
    regions: Dim
    """Regions that are sampled; may be symbolic."""
    pooled: tuple[int, int]
    """Bins in y and in x."""
    scale: float
    """Pixels of the map for one unit of a region."""
    samples: int
    """In each direction of a bin; 0: as many as a bin has pixels."""


def roi_align_func(spec: RoiAlignSpec, cpu: Cpu) -> tirx.PrimFunc:
    """``(x[batch, channels, height, width], regions[n, 5], out[n, channels, *pooled])``, float32."""
    blocks = emit.ceildiv(spec.channels, _CHANNELS)

    def body(x: Buffer, regions: Buffer, out: Buffer) -> None:
        with tasks(spec.regions * blocks) as task:
            region = emit.bind(task // blocks)
            first = emit.bind(task % blocks * _CHANNELS)
            item = emit.bind(tirx.max(tirx.min(_integer(regions[region, 0]), spec.batch - 1), 0))
            rows = _Weights(spec.pooled[0], spec.height, regions[region, 2], regions[region, 4], spec)
            columns = _Weights(spec.pooled[1], spec.width, regions[region, 1], regions[region, 3], spec)
            line = emit.scratch((spec.width,))
            with emit.serial(emit.minimum(_CHANNELS, spec.channels - first)) as offset:
                channel = emit.bind(first + offset)
                with emit.serial(spec.pooled[0]) as y:
                    _sum_rows(x, [item, channel], rows, y, line, spec.width, cpu.lanes)
                    with emit.serial(spec.pooled[1]) as column:
                        value = _dot(columns, column, line, spec.width, cpu.lanes)
                        emit.store(out, value, [region, channel, y, column])

    parameters = [
        ("x", (spec.batch, spec.channels, spec.height, spec.width)),
        ("regions", (spec.regions, 5)),
        ("out", (spec.regions, spec.channels, *spec.pooled)),
    ]
    kernel = emit.Kernel("region pooling", "weights of rows, then of columns")
    return emit.primfunc(parameters, body, kernel=kernel)


def _kept(value: Expr) -> Value:
    """`value`, computed here and once, through memory: TVM's interval analysis fails on bounds of floats."""
    held = emit.scratch((1,))
    emit.store(held, value, [0])
    return held[0]


def _integer(value: Expr) -> Value:
    return tirx.Cast("int64", _kept(value))


class _Weights:
    """``weights[bin, position]`` along one axis, and which positions of a bin have any."""

    def __init__(self, bins: int, size: int, start: Expr, end: Expr, spec: RoiAlignSpec) -> None:
        self.size = size
        self.values = emit.scratch((bins * size,))
        self.lowest = emit.scratch((bins,), "int64")
        self.count = emit.scratch((bins,), "int64")
        scale, one = emit.constant(spec.scale), emit.constant(1.0)
        begin = emit.bind(start * scale)
        bin_size = _kept(tirx.max(end * scale - begin, one) * emit.constant(1.0 / bins))
        samples = emit.bind(spec.samples if spec.samples > 0 else _integer(tirx.ceil(bin_size)))
        share = emit.bind(one / tirx.Cast("float32", samples))
        last = emit.constant(float(size - 1))
        with emit.serial(bins) as each:
            low, high = emit.scratch((1,), "int64"), emit.scratch((1,), "int64")
            emit.store(low, tirx.IntImm("int64", size), [0])
            emit.store(high, tirx.IntImm("int64", 0), [0])
            with emit.serial(size) as position:
                emit.store(self.values, emit.constant(0.0), [each * size + position])
            with emit.serial(samples) as sample:
                offset = (tirx.Cast("float32", sample) + emit.constant(0.5)) * bin_size * share
                at = emit.bind(begin + tirx.Cast("float32", each) * bin_size + offset)
                inside = tirx.all(at >= emit.constant(-1.0), at <= emit.constant(float(size)))

                def add(at: Expr = at, each: Expr = each, low: Buffer = low, high: Buffer = high) -> None:
                    bounded = _kept(tirx.min(tirx.max(at, emit.constant(0.0)), last))
                    below = emit.bind(_integer(tirx.floor(bounded)))
                    above = emit.bind(tirx.min(below + 1, size - 1))
                    part = emit.bind(bounded - tirx.Cast("float32", below))
                    for position, weight in ((below, one - part), (above, part)):
                        place = [each * size + position]
                        emit.store(self.values, self.values[place[0]] + weight * share, place)
                    emit.store(low, tirx.min(low[0], below), [0])
                    emit.store(high, tirx.max(high[0], above + 1), [0])

                emit.when(inside, add)
            emit.store(self.lowest, low[0], [each])
            emit.store(self.count, tirx.max(high[0] - low[0], 0), [each])


def _sum_rows(x: Buffer, of: list[Expr], rows: _Weights, y: Expr, line: Buffer, width: int, lanes: int) -> None:
    """``line[column] = sum over rows of weight[row] * x[row, column]`` for one row of bins."""
    lines.each(width, lanes, lambda at, n: emit.store(line, emit.constant(0.0, n), [at], n))
    first = emit.bind(rows.lowest[y])
    with emit.serial(rows.count[y]) as offset:
        row = emit.bind(first + offset)
        weight = emit.bind(rows.values[y * rows.size + row])

        def add(at: Expr, n: int) -> None:
            value = emit.load(line, [at], n) + emit.broadcast(weight, n) * emit.load(x, [*of, row, at], n)
            emit.store(line, value, [at], n)

        lines.each(width, lanes, add)


def _dot(columns: _Weights, column: Expr, line: Buffer, width: int, lanes: int) -> Value:
    """One row of bins' value in one column of bins."""

    def product(at: Expr, n: int) -> Value:
        return emit.load(columns.values, [column * width + at], n) * emit.load(line, [at], n)

    return lines.fold(width, lanes, product, lambda a, b: a + b, 0.0)
