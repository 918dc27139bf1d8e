"""Scores of two answers that may keep another number of objects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sam3port.bench.whole import difference_of_scores


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([0.5, 0.9], [0.9, 0.75], 0.25),  # in whatever order the objects come
        ([0.9, 0.5, 0.3], [0.5, 0.8], 0.1),
        ([0.5], [], math.inf),
        ([], [], math.inf),
    ],
)
def test_best_scores_of_as_many_objects_as_both_keep(ours: list[float], theirs: list[float], difference: float) -> None:
    assert difference_of_scores(np.array(ours), np.array(theirs)) == pytest.approx(difference)
