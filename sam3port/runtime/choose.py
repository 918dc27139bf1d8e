"""Which of the objects that a model found are kept."""

from __future__ import annotations

from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sam3port.errors import UsageError


def part_of_one(value: Any, what: str) -> float:
    """A number from 0 to 1.

    Raises:
        UsageError: it is none; ``what`` names it.
    """
    # Compared as it is: whole numbers may be beyond any float.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= cast(Any, value) <= 1:
        raise UsageError(f"{what} is {value!r}", "give a number from 0 to 1")
    return float(value)


def logit(probability: Any) -> float:
    """Of a mask threshold, which lies between 0 and 1; 0 for one half.

    Raises:
        UsageError: it does not.
    """
    value = part_of_one(probability, "the mask threshold")
    if value in {0.0, 1.0}:
        raise UsageError(f"the mask threshold is {probability!r}", "give a number between 0 and 1, which are excluded")
    return float(np.log(value / (1 - value)))


def apart(
    logits: NDArray[np.float32], scores: NDArray[np.float32], groups: NDArray[np.int64], most: float
) -> NDArray[np.int64]:
    """Objects without those that lie upon a better one of their group (non-maximum suppression by masks).

    Args:
        logits: (n, h, w); pixels above zero belong to the object.
        scores: (n,): the better object has the higher one.
        groups: (n,).
        most: IoU, 0..1: an object that has more with a better one is left out.

    Returns:
        indices of those that stay, ascending.
    """
    flat = (logits > 0).reshape(len(logits), -1)
    return apart_by(intersections(flat), scores, groups, most)


def intersections(flat: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(n, n): how many pixels each two of n masks (n, pixels) have in common; on the diagonal their areas."""
    numbers = flat.astype(np.float32)
    common: NDArray[np.float32] = numbers @ numbers.T
    return common


def apart_by(
    common: NDArray[np.float32], scores: NDArray[np.float32], groups: NDArray[np.int64], most: float
) -> NDArray[np.int64]:
    """As `apart`, from what each two masks have in common."""
    areas = np.diagonal(common)
    iou = common / np.maximum(areas[:, None] + areas - common, 1)
    left = np.ones(len(scores), np.bool_)
    for index in np.argsort(-scores, kind="stable").tolist():
        if left[index]:
            left &= ~((iou[index] > most) & (groups == groups[index]))
            left[index] = True
    return np.flatnonzero(left)


def best(scores: NDArray[np.float32], most: int | None) -> NDArray[np.int64]:
    """Indices of the ``most`` highest scores, ascending; all of them with None."""
    order = np.argsort(-scores, kind="stable")[:most]
    return np.sort(order)
