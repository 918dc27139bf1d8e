"""A contest goes on without whoever cannot take part, and says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sam3port.bench.contest import Works, compete
from sam3port.bench.contestants import Contestant
from sam3port.bench.figures import Results
from sam3port.bench.process import ContestantFailed, Process
from sam3port.build.request import BuildRequest


def test_a_module_that_does_not_exist_is_a_failure_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ContestantFailed, match=r"status 1; .*No module named sam3port\.bench\.nobody"):
        Process("sam3port.bench.nobody", {}, tmp_path / "out", 1)


def test_who_cannot_open_is_absent_and_the_rest_goes_on(tmp_path: Path) -> None:
    """The limit's own module stands in for a contestant: a real process with real work."""
    results, said = Results(), []
    build = BuildRequest(("scoring_head",))
    request: dict[str, Any] = {"build": build.as_json(), "inputs": str(tmp_path / "absent.npz"), "onnx": "absent"}
    compete(
        Works({"float32": "multiply-adds"}, {"float32": 100}, {}),
        {Contestant.TVM: request, Contestant.TORCH: request},
        tmp_path / "processes",
        modules={Contestant.TVM: "sam3port.bench.run_limit", Contestant.TORCH: "sam3port.bench.run_tvm"},
        build=build,
        threads=1,
        rounds=2,
        error=lambda _contestant, _work, outputs: float(len(outputs)),
        results=results,
        say=said.append,
    )
    (row,) = results.rows
    assert (row.component, row.contestant, row.max_abs_error) == ("multiply-adds", Contestant.TVM, 0.0)
    assert len(row.seconds) >= 2 and min(row.seconds) > 0
    assert row.peak_rss_bytes > 2**20
    assert row.gflops is not None
    (absent,) = results.absent
    assert (absent.component, absent.contestant) == ("multiply-adds", Contestant.TORCH)
    assert "KeyError" in absent.problem
    assert len(results.float32_limits) == len(results.read_limits) == 3
    assert sum("warm-up" in line for line in said) == 1


def test_a_process_that_dies_in_its_turn_is_a_failure(tmp_path: Path) -> None:
    process = Process(
        "sam3port.bench.run_limit", {"build": BuildRequest(("scoring_head",)).as_json()}, tmp_path / "out", 1
    )
    process._child.kill()
    with pytest.raises(ContestantFailed, match="SIGKILL"):
        process.turn("float32", 0.1)
    process.kill()
