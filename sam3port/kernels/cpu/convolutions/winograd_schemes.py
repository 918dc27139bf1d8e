"""The sums of minimal filtering for one line: m results of three weights over m + 2 pixels, by m + 2 multiplications.

Weights, pixels and products are transformed by small matrices (Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", 2015, section 4); in two dimensions along the columns first, then along the lines. Which points the
matrices evaluate polynomials at decides how many digits get lost: with 0, 1, -1 hardly any, so that the results are
as good as those of a plain sum. F(4x4, 3x3) usually has 2 and -2 as well, and loses a digit to a plain sum, at worst
two. 3/4 and 3/2 in place of 1 and 2 lose half of that, and are as exact in float32. (Normally distributed numbers, 256
channels, mean error over the size of the results: F(2x2) 2.8e-7, these 8.5e-7, 1 and 2 14e-7, of which the worst
element is off by 17, 82 and 414e-7.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Value
from sam3port.kernels.cpu.codegen.expressions import fma

Line = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One of them."""

    results: int
    """m: a tile of the output has m x m pixels."""
    tiles: int
    """Of a task, about: so that transforms of 256 channels and features lie in the near caches."""
    weights: Callable[[Line], list[Any]]
    """``three weights -> m + 2``, in float64: its products are exact there, so the results do not depend on the order
    or the instructions that they are computed by."""
    pixels: Callable[[Line, int], list[Value]]
    """``(m + 2 vectors, their lanes) -> m + 2``."""
    sums: Callable[[Line, int], list[Value]]
    """``(m + 2 vectors of products, their lanes) -> m results``."""

    @property
    def side(self) -> int:
        """Of a tile of the input."""
        return self.results + 2

    @property
    def positions(self) -> int:
        """In a tile of the input, line by line."""
        return self.side**2

    def __str__(self) -> str:
        m = self.results
        return f"F({m}x{m}, 3x3): {self.positions} of {9 * m * m} multiplications"


def _weights_2(g: Line) -> list[Any]:
    return [g[0], (g[0] + g[1] + g[2]) * 0.5, (g[0] - g[1] + g[2]) * 0.5, g[2]]


def _pixels_2(d: Line, _lanes: int) -> list[Value]:
    return [emit.bind(value) for value in (d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3])]


def _sums_2(m: Line, _lanes: int) -> list[Value]:
    return [emit.bind(m[0] + m[1] + m[2]), emit.bind(m[1] - m[2] - m[3])]


NEAR: Final = 0.75
FAR: Final = 1.5
_NEAR_2: Final = NEAR**2
_FAR_2: Final = FAR**2


def _weights_4(g: Line) -> list[Any]:
    """Multiplied by 16 or 4 first, so that the factors are small integers."""
    near, far = 16 * g[0] + 9 * g[2], 4 * g[0] + 9 * g[2]
    # Polynomials at the points, over the product of each point's differences from the others.
    by_near, by_far = 1 / (32 * _NEAR_2 * (_NEAR_2 - _FAR_2)), 1 / (8 * _FAR_2 * (_FAR_2 - _NEAR_2))
    return [
        g[0] * (1 / (_NEAR_2 * _FAR_2)),
        (near + 12 * g[1]) * by_near, (near - 12 * g[1]) * by_near,
        (far + 6 * g[1]) * by_far, (far - 6 * g[1]) * by_far,
        g[2],
    ]  # fmt: skip


def _pixels_4(d: Line, lanes: int) -> list[Value]:
    def times(factor: float, value: Value, plus: Value) -> Value:
        return emit.bind(fma(value, emit.constant(factor, lanes), plus))

    def outer(at: int) -> Value:
        return times(_NEAR_2 * _FAR_2, d[at], times(-_NEAR_2 - _FAR_2, d[at + 2], d[at + 4]))

    def both(point: float, other: float) -> list[Value]:
        """At a point and at its negative."""
        even, odd = times(-other, d[2], d[4]), times(-other, d[1], d[3])
        return [times(point, odd, even), times(-point, odd, even)]

    return [outer(0), *both(NEAR, _FAR_2), *both(FAR, _NEAR_2), outer(1)]


def _sums_4(m: Line, lanes: int) -> list[Value]:
    near, far = [(emit.bind(m[i] + m[i + 1]), emit.bind(m[i] - m[i + 1])) for i in (1, 3)]

    def power(exponent: int, plus: Value | None = None) -> Value:
        even = exponent % 2
        scaled = near[even] * emit.constant(NEAR**exponent, lanes)
        if plus is not None:
            scaled = fma(near[even], emit.constant(NEAR**exponent, lanes), plus)
        return emit.bind(fma(far[even], emit.constant(FAR**exponent, lanes), scaled))

    return [emit.bind(m[0] + near[0] + far[0]), power(1), power(2), power(3, m[5])]


F2: Final = Scheme(2, 96, _weights_2, _pixels_2, _sums_2)
F4: Final = Scheme(4, 64, _weights_4, _pixels_4, _sums_4)
