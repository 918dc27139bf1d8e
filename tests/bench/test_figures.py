"""What a contest's numbers mean."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3port.bench.contest import _orders
from sam3port.bench.contestants import Contestant
from sam3port.bench.figures import Absent, Results, Row, largest_difference
from sam3port.bench.table import COLUMNS, lines, seconds


def row(contestant: Contestant, *times: float, component: str = "vision", flops: int | None = 10**9) -> Row:
    return Row(component, contestant, "float32", times, flops, 10**6, 2**30, 1.5, 0.5, 1e-6)


def test_a_rows_figures_are_of_its_runs() -> None:
    each = row(Contestant.TVM, 0.2, 0.1, 0.4)
    assert each.median_s == 0.2
    assert each.gflops == pytest.approx(5.0)
    as_json = each.as_json()
    assert as_json["p95_s"] == pytest.approx(np.percentile([0.2, 0.1, 0.4], 95))
    assert (as_json["runs"], as_json["least_s"]) == (3, 0.1)
    wanted = {"component", "contestant", "dtype", "median_s", "p95_s", "gflops", "peak_rss_bytes", "max_abs_error"}
    assert wanted <= set(as_json)


def test_the_speedup_is_theirs_over_ours() -> None:
    results = Results([row(Contestant.TVM, 0.1), row(Contestant.TORCH, 0.25)])
    assert results.speedup("vision", Contestant.TORCH) == pytest.approx(2.5)
    assert results.speedup("vision", Contestant.OPENVINO) is None


def test_the_limit_is_the_best_round() -> None:
    results = Results(float32_limits=[90.0, 120.0, 60.0])
    assert results.as_json()["fma_limit_gflops"] == {"float32": 120.0, "bfloat16": None}
    assert json.loads(json.dumps(Results().as_json()))["fma_limit_gflops"]["float32"] is None


def test_who_is_absent_stands_in_the_table_with_the_reason() -> None:
    results = Results([row(Contestant.TVM, 0.1)], [Absent("vision", Contestant.OPENVINO, "no such operator")])
    ours, absent = lines(results)
    assert len(ours) == len(absent) == len(COLUMNS)
    assert ours[:3] == ("vision", "tvm", "100 ms")
    assert absent[-1] == "no such operator"


@given(st.integers(1, 5), st.integers(1, 12))
def test_everybody_has_a_turn_in_each_round(count: int, rounds: int) -> None:
    contestants = list(Contestant)[:count]
    orders = list(_orders(contestants, rounds))
    assert len(orders) == rounds
    assert all(sorted(order) == sorted(contestants) for order in orders)


def test_nobody_always_follows_the_same() -> None:
    three = [Contestant.TVM, Contestant.TORCH, Contestant.OPENVINO]
    assert len({tuple(order) for order in _orders(three, 6)}) == 6


def test_differences_of_what_is_not_finite() -> None:
    assert largest_difference([[1.0, math.inf, math.nan]], [[1.5, math.inf, math.nan]]) == 0.5
    assert largest_difference([[1.0]], [[math.nan]]) == math.inf
    assert largest_difference([[1.0]], [[1.0, 2.0]]) == math.inf
    assert largest_difference([[True], [3]], [[False], [3]]) == 1.0


def test_seconds_have_three_digits() -> None:
    assert [seconds(value) for value in (12.34, 1.0, 0.01234, 1e-5)] == ["12.3 s", "1 s", "12.3 ms", "0.01 ms"]


def test_an_infinite_error_is_json_that_strict_readers_take() -> None:
    worst = replace(row(Contestant.TVM, 1.0), max_abs_error=math.inf)
    text = json.dumps(worst.as_json(), allow_nan=False)
    assert Row.from_json(json.loads(text)) == worst
