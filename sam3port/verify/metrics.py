"""How far two arrays are apart. Pure numpy, float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

STRICT: Final = 1e-5
"""The ``rtol = atol`` of the reported share of elements."""

FEW: Final = 16
"""Numbers of an output up to which chance decides how near to float64 one run comes."""

_BLOCK: Final = 1 << 16
"""Elements compared at a time."""

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Difference:
    """``found`` beside ``expected``, over all elements."""

    max_absolute: float
    mean_absolute: float
    root_mean_square: float
    max_relative: float
    """Largest ``|found - expected| / |expected|`` where ``|expected|`` is at least a thousandth of its largest."""
    strict_share: float
    """Share of elements within ``rtol = atol = 1e-5``, 0..1."""
    excess: float
    """Largest ``|found - expected| / (atol + rtol |expected|)``; above 1 the tolerance is broken."""
    worst: tuple[int, ...]
    """Index of the element with the largest excess."""
    found: float
    expected: float
    """The values there."""


def difference(found: Array, expected: Array, rtol: float, atol: float) -> Difference:
    """Compares element by element.

    Equal infinities and NaNs in the same place differ by 0; a NaN or infinity beside anything else by infinity.
    Booleans and integers count as numbers, and should be given a tolerance of 0.

    Raises:
        ValueError: the shapes differ, or there is no element to compare.
    """
    if found.shape != expected.shape:
        raise ValueError(f"shapes differ: {found.shape} and {expected.shape}")
    if found.size == 0:
        raise ValueError("there is nothing to compare")
    left, right = found.reshape(-1), expected.reshape(-1)
    tiny = max(_largest(expected) * 1e-3, float(np.finfo(np.float64).tiny))
    most = total = squares = relative = 0.0
    within, excess, worst = 0, -1.0, 0
    # Block by block: the temporary arrays of a whole feature map would not even fit into the cache.
    for first in range(0, found.size, _BLOCK):
        a, b = (side[first : first + _BLOCK].astype(np.float64) for side in (left, right))
        apart = _distance(a, b)
        size = np.abs(np.where(np.isfinite(b), b, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            over = np.where(apart == 0, 0.0, apart / (atol + rtol * size))
        large = size >= tiny
        if large.any():
            relative = max(relative, float((apart[large] / size[large]).max()))
        most, total = max(most, float(apart.max())), total + float(apart.sum())
        squares += float(np.square(apart).sum())
        within += int((apart <= STRICT + STRICT * size).sum())
        at = int(over.argmax())
        if over[at] > excess:
            excess, worst = float(over[at]), first + at
    return Difference(
        max_absolute=most,
        mean_absolute=total / found.size,
        root_mean_square=math.sqrt(squares / found.size),
        max_relative=relative,
        strict_share=within / found.size,
        excess=excess,
        worst=tuple(int(i) for i in np.unravel_index(worst, found.shape)),
        found=float(left[worst]),
        expected=float(right[worst]),
    )


def incomparable() -> Difference:
    """For arrays of different shapes: infinitely far apart."""
    infinite, unknown = float("inf"), float("nan")
    return Difference(infinite, infinite, infinite, infinite, 0.0, infinite, (), unknown, unknown)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.abs(a - b)
    return np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))


@dataclass(frozen=True, slots=True)
class OwnError:
    """PyTorch float32's own error against float64, relative to the largest value of the output."""

    maximum: float
    root_mean_square: float


def own_error(torch: Difference, exact: Array) -> OwnError:
    """At least what float32 can show: half a unit in the last place of the largest value.

    Below that an error is no error, and a constant that PyTorch happens to hit exactly does not divide by zero.

    Args:
        torch: PyTorch float32's output against the float64 run.
        exact: the float64 run's output.
    """
    half_unit = float(np.finfo(np.float32).eps) / 2
    largest = _largest(exact)
    if largest == 0.0:
        return OwnError(half_unit, half_unit / 4)
    return OwnError(max(torch.max_absolute / largest, half_unit), max(torch.root_mean_square / largest, half_unit / 4))


def typical(errors: Sequence[OwnError], size: int) -> OwnError:
    """What PyTorch's own error is for an output, from its cases: the median.

    Of an output of `FEW` numbers or less it is the largest: there the error of one case says little.

    Args:
        errors: of each case, at least one.
        size: how many numbers the output has.
    """
    middle = np.max if size <= FEW else np.median
    return OwnError(
        float(middle([error.maximum for error in errors])),
        float(middle([error.root_mean_square for error in errors])),
    )


def yardstick(port: Difference, torch: Difference, exact: Array, usual: OwnError | None = None) -> float:
    """The port's error against float64 over PyTorch float32's own: the larger of the maximum's and the RMS's ratio.

    Where an output is few numbers or hangs on few (a score, a mask that is one vector times a map), chance decides how
    near to float64 one run comes. PyTorch's own error therefore counts as at least ``usual``.

    Args:
        port: the port's output against the float64 run.
        torch: PyTorch float32's output against the float64 run.
        exact: the float64 run's output.
        usual: PyTorch's own error in the typical case of this output; None counts this case alone.
    """
    largest = _largest(exact)
    if largest == 0.0:
        return 0.0 if port.max_absolute == 0 else float("inf")
    own = own_error(torch, exact)
    usual = usual or own
    return max(
        port.max_absolute / largest / max(own.maximum, usual.maximum),
        port.root_mean_square / largest / max(own.root_mean_square, usual.root_mean_square),
    )


def _largest(exact: Array) -> float:
    """The largest finite absolute value; 0 if there is none."""
    flat, largest = exact.reshape(-1), 0.0
    for first in range(0, flat.size, _BLOCK):
        values = np.abs(flat[first : first + _BLOCK].astype(np.float64))
        largest = max(largest, float(np.where(np.isfinite(values), values, 0.0).max()))
    return largest
