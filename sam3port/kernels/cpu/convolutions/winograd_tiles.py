"""Tiles of images for `winograd`: gathered and transformed on the way in, and back on the way out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Expr, Value
from sam3port.kernels.cpu.convolutions.winograd_schemes import Line, Scheme

if TYPE_CHECKING:
    from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec


class Tiles:
    """Of the output, row by row."""

    def __init__(self, spec: ConvolutionSpec, scheme: Scheme) -> None:
        self.in_row = emit.ceildiv(spec.out_width, scheme.results)
        self.count = self.in_row * emit.ceildiv(spec.out_height, scheme.results)


def transform_inputs(
    spec: ConvolutionSpec,
    scheme: Scheme,
    tiles: Tiles,
    x: Buffer,
    item: Expr,
    start: Expr,
    lanes: int,
    keep: Callable[[int, Expr, Value], None],
) -> None:
    """Of `lanes` neighbouring tiles from `start` on, of all channels: ``keep(position, channel, vector of tiles)``."""
    top, left = spec.padding[:2]
    m, side = scheme.results, scheme.side
    row, place = emit.bind(start // tiles.in_row), emit.bind(start % tiles.in_row)
    y, first = emit.bind(row * m - top), emit.bind(place * m - left)

    def neighbours() -> None:
        """They lie in one row, and within the image."""
        with emit.serial(spec.channels) as channel:
            lines: list[list[Value]] = []
            for line in range(side):
                # A tile's last two pixels are the first two of the next.
                near, far = (
                    emit.bind(emit.load(x, [item, channel, y + line, first + shift], m * lanes)) for shift in (0, m)
                )
                lines.append([*_every(near, m, lanes, range(m)), *_every(far, m, lanes, range(side - m))])
            _keep_transformed(scheme, lines, lanes, lambda position, value: keep(position, channel, value))

    def one_by_one() -> None:
        with emit.serial(spec.channels) as channel:
            gathered = emit.scratch((scheme.positions * lanes,))
            with emit.serial(lanes) as lane:
                tile = emit.bind(start + lane)
                own_y, own_x = emit.bind(tile // tiles.in_row * m - top), emit.bind(tile % tiles.in_row * m - left)
                with emit.serial(side) as line, emit.serial(side) as column:
                    inside = tirx.all(
                        own_y + line >= 0,
                        own_y + line < spec.height,
                        own_x + column >= 0,
                        own_x + column < spec.width,
                    )
                    value = tirx.if_then_else(
                        inside, x[item, channel, own_y + line, own_x + column], emit.constant(0.0)
                    )
                    emit.store(gathered, value, [(line * side + column) * lanes + lane])
            lines = [
                [emit.load(gathered, [(line * side + column) * lanes], lanes) for column in range(side)]
                for line in range(side)
            ]
            _keep_transformed(scheme, lines, lanes, lambda position, value: keep(position, channel, value))

    whole = tirx.all(
        place + lanes <= tiles.in_row, y >= 0, y + side <= spec.height,
        first >= 0, first + m * lanes + m <= spec.width,
    )  # fmt: skip
    emit.when(whole, neighbours, one_by_one)


def transform_outputs(
    spec: ConvolutionSpec,
    scheme: Scheme,
    tiles: Tiles,
    start: Expr,
    lanes: int,
    product: Callable[[int, Expr], Value],
    write: Callable[[Expr, Expr, Value, int], None],
) -> None:
    """Of `lanes` neighbouring tiles from `start` on, all features: ``write(feature, pixel, value, lanes)``.

    Args:
        product: ``(position, feature) -> vector`` of tiles.
    """
    m, side = scheme.results, scheme.side
    row, place = emit.bind(start // tiles.in_row), emit.bind(start % tiles.in_row)

    def results(feature: Expr) -> list[list[Value]]:
        products = [
            [emit.bind(product(line * side + column, feature)) for column in range(side)] for line in range(side)
        ]
        by_column = [scheme.sums([line[column] for line in products], lanes) for column in range(side)]
        return [scheme.sums([column[line] for column in by_column], lanes) for line in range(m)]

    def neighbours() -> None:
        with emit.serial(spec.features) as feature:
            for line, values in enumerate(results(feature)):
                pixel = (row * m + line) * spec.out_width + place * m
                for part in range(m):
                    order = [pixel % m * lanes + pixel // m for pixel in range(part * lanes, (part + 1) * lanes)]
                    write(feature, pixel + part * lanes, emit.bind(tirx.Shuffle(values, order)), lanes)

    def one_by_one() -> None:
        with emit.serial(spec.features) as feature:
            found = emit.scratch((m * m * lanes,))
            for position, value in enumerate(itertools.chain(*results(feature))):
                emit.store(found, value, [position * lanes], lanes)
            with emit.serial(lanes) as lane, emit.serial(m) as line, emit.serial(m) as column:
                tile = emit.bind(start + lane)
                y = emit.bind(tile // tiles.in_row * m + line)
                x = emit.bind(tile % tiles.in_row * m + column)
                at = (line * m + column) * lanes + lane

                def one(y: Expr = y, x: Expr = x, at: Expr = at) -> None:
                    write(feature, y * spec.out_width + x, found[at], 1)

                emit.when(tirx.all(y < spec.out_height, x < spec.out_width), one)

    whole = tirx.all(
        place + lanes <= tiles.in_row, row * m + m <= spec.out_height, place * m + m * lanes <= spec.out_width
    )
    emit.when(whole, neighbours, one_by_one)


def _every(line: Expr, m: int, lanes: int, firsts: range) -> list[Value]:
    """Of ``m * lanes`` neighbours every m-th, from each of the first ones on."""
    return [emit.bind(tirx.Shuffle([line], list(range(first, m * lanes, m)))) for first in firsts]


def _keep_transformed(scheme: Scheme, lines: list[list[Any]], lanes: int, keep: Callable[[int, Value], None]) -> None:
    side = range(scheme.side)
    by_column: list[Line] = [scheme.pixels([line[column] for line in lines], lanes) for column in side]
    for line in side:
        for column, value in enumerate(scheme.pixels([values[line] for values in by_column], lanes)):
            keep(line * scheme.side + column, value)
