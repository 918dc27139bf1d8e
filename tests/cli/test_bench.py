"""``sam3port bench``, for real: the port, PyTorch and whoever else is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sam3port.bench.contestants import PEERS, Contestant, missing_packages
from tests.cli.conftest import Program


def test_one_component_against_everybody(sam3port: Program, tmp_path: Path) -> None:
    """Each computes the same: their errors against float64 are all those of float32."""
    there = [peer for peer in PEERS if not missing_packages(peer)]
    words = ("bench", "scoring_head", "--against", ",".join(there), "--rounds", "1", "--json", "--report", "out")
    ran = sam3port(*words, timeout=900)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["absent"] == []
    assert [row["contestant"] for row in found["rows"]] == ["tvm", *there]
    for row in found["rows"]:
        assert row["component"] == "scoring_head"
        assert 0 < row["median_s"] <= row["p95_s"]
        assert row["max_abs_error"] < 1e-5
        assert row["gflops"] > 0
        assert row["peak_rss_bytes"] > 2**20
    assert found["fma_limit_gflops"]["float32"] > 1
    report = (tmp_path / "out" / "PERFORMANCE.md").read_text(encoding="utf-8")
    assert "| scoring_head | tvm |" in report
    assert "sam3port bench scoring_head --preset tiny --dtype float32" in report
    assert json.loads((tmp_path / "out" / "performance.json").read_text(encoding="utf-8")) == {"runs": [found]}
    (plot,) = (tmp_path / "out").glob("performance-tiny-float32-*.png")
    assert plot.stat().st_size > 10_000
    assert str(tmp_path) not in report


def test_the_whole_program_against_upstream(sam3port: Program) -> None:
    ran = sam3port("bench", "--end-to-end", "--against", "torch,inductor", "--rounds", "1", "--json", timeout=900)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {(row["component"], row["contestant"]) for row in found["rows"]} == {
        (work, contestant)
        for work in ("end-to-end: image", "end-to-end: next prompt")
        for contestant in (Contestant.TVM, Contestant.TORCH)
    }
    assert {each["contestant"] for each in found["absent"]} == {"inductor"}
    (error,) = (row["max_abs_error"] for row in found["rows"] if row["max_abs_error"] is not None)
    assert error < 1e-3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("bench", "nothing"), "there is no component named nothing"),
        (("bench", "--against", "mxnet"), "there is no peer named mxnet"),
        (("bench", "--against", "tvm"), "there is no peer named tvm"),
        (("bench", "scoring_head", "--end-to-end"), "--end-to-end takes all of the model, not scoring_head"),
        (("bench", "--image", "photo.png"), "photo.png"),
        (("bench", "--dtype", "float8"), "cannot compute in float8"),
        (("bench", "--rounds", "0"), "0 is not in the range"),
    ],
)
def test_wrong_use_is_one_line(sam3port: Program, words: tuple[str, ...], problem: str) -> None:
    ran = sam3port(*words)
    assert ran.returncode == 2
    assert problem in ran.stderr
    assert "Traceback" not in ran.stderr
