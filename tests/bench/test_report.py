"""A report of several runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sam3port.bench.contestants import Contestant
from sam3port.bench.figures import Absent, Results, Row
from sam3port.bench.report import JSON, MARKDOWN, collected, earlier_runs, plot_name, write_report
from sam3port.bench.run import BenchRun
from sam3port.errors import UsageError

ABOUT = {
    "upstream": "d0b1b9d", "preset": "full", "resolution": None, "dtype": "float32", "threads": 2, "rounds": 3,
    "machine": "one with two cores", "versions": {"torch": "2.13.0"},
}  # fmt: skip


def row(component: str, contestant: Contestant, *times: float, dtype: str = "float32") -> Row:
    return Row(component, contestant, dtype, times, 10**9, 10**6, 2**30, 1.5, 0.5, 1e-6)


def run(*components: str, limit: float = 100.0, seconds: float = 0.1, **about: Any) -> BenchRun:
    dtype = about.get("dtype", "float32")
    rows = [
        row(name, who, seconds, 2 * seconds, dtype=dtype)
        for name in components
        for who in (Contestant.TVM, Contestant.TORCH)
    ]
    absent = [Absent(name, Contestant.OPENVINO, "no such operator") for name in components]
    command = f"sam3port bench {' '.join(components)} --dtype {dtype}"
    return BenchRun(Results(rows, absent, [limit], [], [20.0]), {"command": command, **ABOUT, **about})


def test_a_run_survives_the_file(tmp_path: Path) -> None:
    runs = [run("vision"), run("text", dtype="bfloat16")]
    write_report(runs, ["vision", "text"], tmp_path)
    again = earlier_runs(tmp_path)
    assert [each.as_json() for each in again] == [each.as_json() for each in runs]
    assert again[0].results.rows == runs[0].results.rows


def test_what_is_measured_again_takes_the_place_of_what_was() -> None:
    older, other = run("vision", "text", seconds=0.1), run("vision", dtype="bfloat16")
    newer = run("vision", seconds=0.3)
    first, second, third = collected([older, other], newer)
    assert first.results.components() == ["text"] and second is other and third is newer
    assert [each.component for each in first.results.absent] == ["text"]
    assert collected([run("vision")], newer) == [newer], "a run of which nothing is left goes"


def test_a_table_for_each_kind_and_the_order_of_components(tmp_path: Path) -> None:
    runs = [
        run("text", limit=90.0),
        run("end-to-end: image"),
        run("vision", limit=120.0),
        run("text", dtype="bfloat16"),
    ]
    files = write_report(runs, ["vision", "text"], tmp_path)
    page = (tmp_path / MARKDOWN).read_text(encoding="utf-8")
    assert page.index("## full, bfloat16, 2 threads") < page.index("## full, float32, 2 threads")
    table = page[page.index("## full, float32") :]
    places = [table.index(f"| {name} | tvm | 150 ms |") for name in ("vision", "text", "end-to-end: image")]
    assert places == sorted(places)
    for each in runs:
        assert each.about["command"] in page
    assert "at most 90 GFLOP/s" in page and "at most 120 GFLOP/s" in page
    plots = {plot_name("full, float32, 2 threads"), plot_name("full, bfloat16, 2 threads")}
    assert {file.name for file in files} == {JSON, MARKDOWN, *plots}
    assert all(f"]({name})" in page and (tmp_path / name).stat().st_size > 10_000 for name in plots)
    assert not list(tmp_path.glob(".*")), "what was written aside is left"


def test_a_share_is_of_the_limit_of_its_own_run(tmp_path: Path) -> None:
    """Machines differ from run to run: 10^9 operations in 150 ms are 6.67 GFLOP/s."""
    write_report([run("text", limit=100.0), run("vision", limit=10.0)], ["vision", "text"], tmp_path)
    page = (tmp_path / MARKDOWN).read_text(encoding="utf-8")
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if " | tvm | " in line}
    assert " | 67% | " in rows["vision"]
    assert " | 7% | " in rows["text"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runs": [{"rows": []}]}', json.dumps({"rows": []})])
def test_another_file_of_that_name_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / JSON).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is no report of sam3port bench"):
        earlier_runs(tmp_path)
    assert (tmp_path / JSON).read_text(encoding="utf-8") == text


def test_nothing_came_before(tmp_path: Path) -> None:
    assert earlier_runs(tmp_path / "new") == []
