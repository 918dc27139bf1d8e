"""A threshold at which both sides can be expected to keep the same objects, chosen by upstream's scores alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_SCORE_ERROR: Final = 1e-3
"""What a score may differ by, at most; less where the gap around the threshold is narrow, see `allowed`."""

MIN_GAP: Final = 1e-4
"""Between the scores on both sides of a threshold: some hundred times what float32 leaves uncertain in a score."""

_SHARE: Final = 0.25
"""Of a gap that a score may differ by: two scores that do, one on each side, still do not meet."""

_FEWEST, _MOST = 2, 10


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where objects begin to be kept."""

    value: float
    gap: float
    """Distance of the scores next to it; below `MIN_GAP` nothing can be concluded from it."""


def allowed(gap: float | None) -> float:
    """What a score may differ by, so that the threshold in this gap (None: there is no threshold) decides."""
    return MAX_SCORE_ERROR if gap is None else min(MAX_SCORE_ERROR, _SHARE * gap)


def between(scores: NDArray[Any], telling: NDArray[np.bool_]) -> Threshold:
    """The middle of the widest gap that keeps some objects: 2 to 10 of them, one with a telling mask among them.

    With weights from a seed a usual threshold could keep nothing or all, and could lie on a score.

    Args:
        scores: (queries,) of all queries.
        telling: (queries,) whether the query's mask is neither empty nor the whole picture.

    Returns:
        A gap of 0 (and a threshold that keeps nothing) if there is none.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order].astype(np.float64)
    widest = Threshold(1.0, 0.0)
    for kept in range(_FEWEST, min(_MOST, len(scores) - 1) + 1):
        gap = float(falling[kept - 1] - falling[kept])
        if gap > widest.gap and telling[order[:kept]].any():
            widest = Threshold(float(falling[kept - 1] + falling[kept]) / 2, gap)
    return widest
