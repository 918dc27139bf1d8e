"""A quick contest about a few small components. It asserts nothing about time: its figures end the suite's log.

All compute on one thread, as the suite may have a worker on every other core; docs/performance.md says how to measure
in earnest.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sam3port.bench.contestants import PEERS, Contestant, missing_packages
from sam3port.bench.figures import NO_INSTRUCTION
from sam3port.upstream.source import Upstream
from sam3port.verify.compact import compact
from sam3port.verify.judge import MAX_RATIO
from sam3port.verify.judge_bfloat16 import MAX_RATIO as MAX_RATIO_OF_BFLOAT16
from tests import speed
from tests.cli.conftest import call

SMALL = "scoring_head"
"""What everybody computes: peers take longest to open."""
AGAINST_TORCH = ("segmentation_head", "transformer_decoder")
"""Convolutions; attention and linear layers."""
FLOAT32 = 1e-4
"""Numbers of these components are about 1: what is further off was not computed in float32."""
FIELDS = {
    **dict.fromkeys(("component", "contestant", "dtype"), str),
    **dict.fromkeys(("median_s", "p95_s", "gflops", "max_abs_error"), float),
    "peak_rss_bytes": int,
}
"""Of each row, as users of ``--json`` were promised them."""

Found = dict[str, Any]


def bench(factory: pytest.TempPathFactory, name: str, *words: str) -> Found:
    """What ``sam3port bench`` prints about these words; kept with the suite's other figures."""
    cwd = factory.mktemp(name)
    ran = call("bench", *words, "--threads", "1", "--rounds", "1", "--json", "--report", "out", cwd=cwd, timeout=900)
    assert ran.returncode == 0, ran.stderr
    (speed.folder(factory) / f"{name}.json").write_text(ran.stdout, encoding="utf-8")
    found: Found = json.loads(ran.stdout)
    written = json.loads((cwd / "out" / "performance.json").read_text(encoding="utf-8"))
    assert written == json.loads(compact({"runs": [found]}))
    return {**found, "name": name, "folder": cwd}


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Found:
    assert upstream_source.pinned
    there = [peer for peer in PEERS if not missing_packages(peer)]
    return bench(tmp_path_factory, "everybody", SMALL, "--against", ",".join(there))


@pytest.fixture(scope="module")
def against_torch(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Found:
    assert upstream_source.pinned
    return bench(tmp_path_factory, "against_torch", *AGAINST_TORCH, "--against", "torch")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Found:
    assert upstream_source.pinned
    return bench(tmp_path_factory, "bfloat16", SMALL, "--against", "torch,onnxruntime", "--dtype", "bfloat16")


def keeps_its_promise(found: Found) -> None:
    """Every field of the JSON that is documented is there, of its type, and can be true."""
    limits = found["fma_limit_gflops"]
    assert set(limits) == {"float32", "bfloat16"}
    assert limits["float32"] > 1
    if limits["bfloat16"] is None:
        assert found["fma_limit_absent"] == {"bfloat16": NO_INSTRUCTION}
    else:
        assert limits["bfloat16"] > 1
    assert found["read_limit_gbytes"] > 0.1
    for row in found["rows"]:
        assert {name: type(row.get(name)) for name in FIELDS} == FIELDS
        assert 0 < row["least_s"] <= row["median_s"] <= row["p95_s"] <= row["p99_s"] < math.inf
        assert row["gflops"] == pytest.approx(row["flops"] / row["median_s"] / 1e9)
        assert row["peak_rss_bytes"] > 2**20
        assert row["runs"] >= 1 and row["opened_s"] > 0 and row["first_s"] > 0


def errors(found: Found, component: str) -> dict[str, float]:
    rows = [row for row in found["rows"] if row["component"] == component]
    assert all(math.isfinite(row["max_abs_error"]) for row in rows)
    return {row["contestant"]: row["max_abs_error"] for row in rows}


def remember(record_property: Any, found: Found, factory: pytest.TempPathFactory) -> None:
    record_property(speed.PROPERTY, str(speed.folder(factory) / f"{found['name']}.json"))


def test_against_torch(against_torch: Found, record_property: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No further from float64 than the yardstick of `sam3port verify` allows."""
    remember(record_property, against_torch, tmp_path_factory)
    keeps_its_promise(against_torch)
    assert against_torch["absent"] == []
    assert [(row["component"], row["contestant"], row["dtype"]) for row in against_torch["rows"]] == [
        (name, contestant, "float32") for name in AGAINST_TORCH for contestant in ("tvm", "torch")
    ]
    for name in AGAINST_TORCH:
        off = errors(against_torch, name)
        assert 0 < off["tvm"] < min(FLOAT32, MAX_RATIO * off["torch"])


def test_bfloat16_against_autocast(half: Found, record_property: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What cannot compute in it is absent, with the reason, instead of computing in float32."""
    remember(record_property, half, tmp_path_factory)
    keeps_its_promise(half)
    assert [(row["contestant"], row["dtype"]) for row in half["rows"]] == [("tvm", "bfloat16"), ("torch", "bfloat16")]
    off = errors(half, SMALL)
    assert FLOAT32 < off["tvm"] < MAX_RATIO_OF_BFLOAT16 * off["torch"]
    (absent,) = half["absent"]
    assert absent["contestant"] == "onnxruntime" and "float32" in absent["problem"]


@pytest.mark.parametrize("contestant", Contestant)
def test_each_peer(
    contestant: Contestant, request: pytest.FixtureRequest, record_property: Any, tmp_path_factory: Any
) -> None:
    """Each computes the same, as exactly as float32 does."""
    if missing := missing_packages(contestant):
        pytest.skip(f"{contestant} needs {', '.join(missing)}: pip install 'sam3port[bench]'")
    everybody: Found = request.getfixturevalue("everybody")
    remember(record_property, everybody, tmp_path_factory)
    assert everybody["absent"] == []
    assert 0 < errors(everybody, SMALL)[contestant] < 1e-5


def test_everybody_is_in_the_json_and_in_the_report(everybody: Found) -> None:
    keeps_its_promise(everybody)
    there = [each for each in Contestant if not missing_packages(each)]
    assert [row["contestant"] for row in everybody["rows"]] == there
    out: Path = everybody["folder"] / "out"
    report = (out / "PERFORMANCE.md").read_text(encoding="utf-8")
    assert all(f"| {SMALL} | {each} |" in report for each in there)
    assert f"sam3port bench {SMALL} --preset tiny --dtype float32" in report
    assert str(everybody["folder"]) not in report
    (plot,) = out.glob("performance-tiny-float32-*.png")
    assert plot.stat().st_size > 10_000


def test_the_table_says_what_the_files_hold(tmp_path: Path) -> None:
    """A row for each, how much faster the port is in the same run, and bfloat16 beside its own limit."""
    row = {"component": "head", "dtype": "bfloat16", "gflops": 50.0, "max_abs_error": 1e-3}
    found = {
        "fma_limit_gflops": {"float32": 100.0, "bfloat16": 200.0},
        "rows": [{**row, "contestant": "tvm", "median_s": 0.002}, {**row, "contestant": "torch", "median_s": 0.005}],
    }
    (tmp_path / "one.json").write_text(json.dumps(found), encoding="utf-8")
    heading, ours, theirs = speed.lines([tmp_path / "one.json"])
    assert heading.split() == " ".join(speed.COLUMNS).split()
    assert ours.split() == ["head", "bfloat16", "tvm", "2", "ms", "50.0", "25%", "1.0e-03"]
    assert theirs.split()[2:5] == ["torch", "5", "ms"] and theirs.endswith("2.50 x as fast")
