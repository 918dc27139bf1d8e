"""Rows of a matrix in another order: what a transpose that leaves the last axis alone does to them.

Windows of an image are that, for one: [B, y, wy, x, wx, C] to [B, y, x, wy, wx, C].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RowOrder:
    """Rows counted along several axes, before and after these change places."""

    dims: tuple[int, ...]
    """Lengths of the axes in the order before."""
    axes: tuple[int, ...]
    """Which of these axes comes first, second and so on after."""

    @property
    def inverse(self) -> RowOrder:
        """From after to before."""
        back = tuple(self.axes.index(axis) for axis in range(len(self.axes)))
        return RowOrder(tuple(self.dims[axis] for axis in self.axes), back)

    def source(self, row: Any) -> Any:
        """Where the row that is `row` after was before; for an int as for an expression."""
        total: Any = 0
        after = 1
        for axis in reversed(self.axes):
            position = row // after if after > 1 else row
            if axis != self.axes[0]:
                position = position % self.dims[axis]
            total = total + position * math.prod(self.dims[axis + 1 :])
            after *= self.dims[axis]
        return total


def row_order(dims: tuple[int, ...], axes: tuple[int, ...]) -> RowOrder | None:
    """Of a transpose of [*rows, features]; None if it moves the features, or no row.

    Axes that stay together are one, axes of size one are none.
    """
    if axes[-1] != len(dims) - 1:
        return None
    kept = [axis for axis in axes[:-1] if dims[axis] != 1]
    groups: list[list[int]] = []
    for axis in kept:
        between = range(groups[-1][-1] + 1, axis) if groups else range(0)
        if groups and axis > groups[-1][-1] and all(dims[other] == 1 for other in between):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) < 2:
        return None
    order = sorted(range(len(groups)), key=lambda group: groups[group][0])
    sizes = (math.prod(dims[axis] for axis in groups[group]) for group in order)
    return RowOrder(tuple(sizes), tuple(order.index(group) for group in range(len(groups))))
