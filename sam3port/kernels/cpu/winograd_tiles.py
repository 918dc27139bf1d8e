"""Tiles of images for `winograd`: gathered and transformed on the way in, and back on the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tvm import tirx

from sam3port.kernels.cpu import emit
from sam3port.kernels.cpu.emit import Buffer, Expr

if TYPE_CHECKING:
    from sam3port.kernels.cpu.convolution import ConvolutionSpec

POSITIONS: Final = 16
"""In a tile of the input, line by line."""


class Tiles:
    """Of 2 x 2 pixels of the output, row by row."""

    def __init__(self, spec: ConvolutionSpec) -> None:
        self.in_row = emit.ceildiv(spec.out_width, 2)
        self.count = self.in_row * emit.ceildiv(spec.out_height, 2)


def transform_inputs(
    spec: ConvolutionSpec,
    tiles: Tiles,
    x: Buffer,
    item: Expr,
    start: Expr,
    lanes: int,
    keep: Callable[[int, Expr, Expr], None],
) -> None:
    """Of `lanes` neighbouring tiles from `start` on, of all channels: ``keep(position, channel, vector of tiles)``."""
    top, left = spec.padding[:2]
    row, place = emit.bind(start // tiles.in_row), emit.bind(start % tiles.in_row)
    y, first = emit.bind(row * 2 - top), emit.bind(place * 2 - left)

    def neighbours() -> None:
        """They lie in one row, and within the image."""
        with emit.serial(spec.channels) as channel:
            pixels: list[list[Expr]] = []
            for line in range(4):
                near, far = (
                    emit.bind(emit.load(x, [item, channel, y + line, first + shift], 2 * lanes)) for shift in (0, 2)
                )
                pixels.append([part for both in (near, far) for part in _parted(both, lanes)])
            _keep_transformed(pixels, lambda position, value: keep(position, channel, value))

    def one_by_one() -> None:
        with emit.serial(spec.channels) as channel:
            gathered = emit.scratch((POSITIONS * lanes,))
            with emit.serial(lanes) as lane:
                tile = emit.bind(start + lane)
                own_y, own_x = emit.bind(tile // tiles.in_row * 2 - top), emit.bind(tile % tiles.in_row * 2 - left)
                with emit.serial(4) as line, emit.serial(4) as column:
                    inside = tirx.all(
                        own_y + line >= 0,
                        own_y + line < spec.height,
                        own_x + column >= 0,
                        own_x + column < spec.width,
                    )
                    value = tirx.if_then_else(
                        inside, x[item, channel, own_y + line, own_x + column], emit.constant(0.0)
                    )
                    emit.store(gathered, value, [(line * 4 + column) * lanes + lane])
            pixels = [
                [emit.load(gathered, [(line * 4 + column) * lanes], lanes) for column in range(4)] for line in range(4)
            ]
            _keep_transformed(pixels, lambda position, value: keep(position, channel, value))

    whole = tirx.all(
        place + lanes <= tiles.in_row, y >= 0, y + 4 <= spec.height, first >= 0, first + 2 * lanes + 2 <= spec.width
    )
    emit.when(whole, neighbours, one_by_one)


def transform_outputs(
    spec: ConvolutionSpec,
    tiles: Tiles,
    start: Expr,
    lanes: int,
    product: Callable[[int, Expr], Expr],
    write: Callable[[Expr, Expr, Expr, int], None],
) -> None:
    """Of `lanes` neighbouring tiles from `start` on, all features: ``write(feature, pixel, value, lanes)``.

    Args:
        product: ``(position, feature) -> vector`` of tiles.
    """
    row, place = emit.bind(start // tiles.in_row), emit.bind(start % tiles.in_row)

    def results(feature: Expr) -> list[list[Expr]]:
        lines = [[emit.bind(product(line * 4 + column, feature)) for column in range(4)] for line in range(4)]
        by_column = [_gathered([lines[line][column] for line in range(4)]) for column in range(4)]
        return [_gathered([by_column[column][line] for column in range(4)]) for line in range(2)]

    def neighbours() -> None:
        with emit.serial(spec.features) as feature:
            for line, (even, odd) in enumerate(results(feature)):
                pixel = (row * 2 + line) * spec.out_width + place * 2
                for half in range(2):
                    order = [lane + side * lanes for lane in range(half * lanes // 2, (half + 1) * lanes // 2)
                             for side in range(2)]  # fmt: skip
                    write(feature, pixel + half * lanes, emit.bind(tirx.Shuffle([even, odd], order)), lanes)

    def one_by_one() -> None:
        with emit.serial(spec.features) as feature:
            found = emit.scratch((4 * lanes,))
            for line, both in enumerate(results(feature)):
                for side, value in enumerate(both):
                    emit.store(found, value, [(line * 2 + side) * lanes], lanes)
            with emit.serial(lanes) as lane, emit.serial(2) as line, emit.serial(2) as side:
                tile = emit.bind(start + lane)
                y = emit.bind(tile // tiles.in_row * 2 + line)
                column = emit.bind(tile % tiles.in_row * 2 + side)

                def one(lane: Expr = lane, line: Expr = line, side: Expr = side, y: Expr = y, c: Expr = column) -> None:
                    write(feature, y * spec.out_width + c, found[(line * 2 + side) * lanes + lane], 1)

                emit.when(tirx.all(y < spec.out_height, column < spec.out_width), one)

    whole = tirx.all(
        place + lanes <= tiles.in_row, row * 2 + 2 <= spec.out_height, place * 2 + 2 * lanes <= spec.out_width
    )
    emit.when(whole, neighbours, one_by_one)


def _parted(both: Expr, lanes: int) -> tuple[Expr, Expr]:
    """The even and the odd ones of ``2 * lanes``."""
    even, odd = (tirx.Shuffle([both], list(range(side, 2 * lanes, 2))) for side in (0, 1))
    return emit.bind(even), emit.bind(odd)


def _keep_transformed(pixels: list[list[Expr]], keep: Callable[[int, Expr], None]) -> None:
    by_column = [_differences([pixels[line][column] for line in range(4)]) for column in range(4)]
    for line in range(4):
        for column, value in enumerate(_differences([by_column[place][line] for place in range(4)])):
            keep(line * 4 + column, value)


def _differences(d: Sequence[Expr]) -> list[Expr]:
    """The transform of four pixels."""
    return [emit.bind(value) for value in (d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3])]


def _gathered(m: Sequence[Expr]) -> list[Expr]:
    """Two results of four products."""
    return [emit.bind(m[0] + m[1] + m[2]), emit.bind(m[1] - m[2] - m[3])]
