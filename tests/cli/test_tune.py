"""``sam3port tune`` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sam3port.tuning.database import Database
from sam3port.tuning.record import Kind
from sam3port.upstream.source import Upstream
from tests.cli.conftest import Completed, Program, call
from tests.conftest import clean_environment

pytest.importorskip("cloudpickle")

WORDS = ("tune", "scoring_head", "--workloads", "1", "--trials", "3", "--database", "found.jsonl")


@pytest.fixture(scope="module")
def tuned(upstream_source: Upstream, tmp_path_factory: pytest.TempPathFactory) -> tuple[Completed, Path]:
    assert upstream_source.pinned
    folder = tmp_path_factory.mktemp("tune")
    ran = call(*WORDS, "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return ran, folder


def test_it_finds_the_work_and_keeps_every_measurement(tuned: tuple[Completed, Path]) -> None:
    ran, folder = tuned
    found = json.loads(ran.stdout)
    assert found["interrupted"] is False
    (row,) = found["rows"]
    assert row["workload"].startswith("linear ") and row["components"] == {
        "scoring_head": row["components"]["scoring_head"]
    }
    assert row["default_s"] > 0 and row["tuned_s"] > 0
    assert row["tuned"] is (row["ratio"] > 1.02)
    records = Database(folder / "found.jsonl").records()
    assert len({tuple(r.schedule.items()) for r in records if r.kind is Kind.TRIAL}) == 3
    assert [r.workload for r in records if r.kind is Kind.BEST] == [row["workload"]]
    assert "3 schedules to measure here" in ran.stderr and "x the default" in ran.stderr


def test_in_bfloat16_that_is_what_is_measured(tuned: tuple[Completed, Path]) -> None:
    ran, folder = tuned
    (exact,) = json.loads(ran.stdout)["rows"]
    half = call(*WORDS, "--trials", "1", "--dtype", "bfloat16", "--database", "half.jsonl", "--json", cwd=folder)
    assert half.returncode == 0, half.stderr
    (row,) = json.loads(half.stdout)["rows"]
    assert row["workload"] == exact["workload"].removesuffix("float32") + "bfloat16"
    assert "1 schedules to measure here" in half.stderr


def test_a_second_run_measures_nothing(tuned: tuple[Completed, Path]) -> None:
    _, folder = tuned
    before = (folder / "found.jsonl").read_bytes()
    ran = call(*WORDS, "--report", "report", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "0 schedules to measure here" in ran.stderr
    assert (folder / "found.jsonl").read_bytes() == before
    assert "default ms" in ran.stdout and "of 1 workloads" in ran.stdout
    page = (folder / "report" / "TUNING.md").read_text(encoding="utf-8")
    assert "| workload | calls | default ms | measured ms | ratio | schedule |" in page
    assert "\n| linear " in page and "sam3port tune scoring_head --preset tiny" in page
    assert "of 1 workloads" in page and str(folder) not in page


def test_the_report_names_what_decides_its_figures(tmp_path: Path) -> None:
    words = ("tune", "scoring_head", "--workloads", "1", "--trials", "1", "--seed", "5", "--threads", "1")
    ran = call(*words, "--database", "own.jsonl", "--report", "report", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "report" / "TUNING.md").read_text(encoding="utf-8")
    assert "sam3port tune scoring_head --preset tiny --trials 1 --workloads 1 --threads 1 --seed 5\n" in page
    assert "own.jsonl" not in page


def test_a_build_uses_what_was_found_and_says_so(tuned: tuple[Completed, Path]) -> None:
    """With the record's outcome turned to a schedule that is not the default, whatever this machine found."""
    _, folder = tuned
    records = Database(folder / "found.jsonl").records()
    (best,) = (r for r in records if r.kind is Kind.BEST)
    trial = next(r for r in records if r.kind is Kind.TRIAL)
    made = folder / "made.jsonl"
    Database(made).add(replace(best, schedule=trial.schedule, tuned=True))
    words = ("build", "scoring_head", "--until", "optimise", "--no-cache")
    ran = call(*words, "--tuned", "made.jsonl", "--out", "tuned", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "schedules that were measured: 1 in made.jsonl" in ran.stderr
    assert "scoring_head: 1 of " in ran.stderr and "kernels have schedules that were measured" in ran.stderr
    assert "tuned: " in (folder / "tuned" / "scoring_head" / "optimised.json").read_text(encoding="utf-8")
    ran = call(*words, "--untuned", "--out", "untuned", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "measured" not in ran.stderr
    assert "tuned: " not in (folder / "untuned" / "scoring_head" / "optimised.json").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal")
def test_an_interrupt_keeps_what_was_measured(upstream_source: Upstream, tmp_path: Path) -> None:
    assert upstream_source.pinned
    words = ("tune", "scoring_head", "--workloads", "1", "--trials", "40", "--database", "found.jsonl", "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "sam3port", *words],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    file = tmp_path / "found.jsonl"
    deadline = time.monotonic() + 240
    while not (file.exists() and file.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 130, complained
    assert json.loads(said) == {"database": "found.jsonl", "interrupted": True, "rows": []}
    assert "Traceback" not in complained
    kept = Database(file).records()
    assert 0 < len(kept) < 40
    ran = call(*words[:-5], "--trials", str(len(kept)), "--database", "found.jsonl", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "0 schedules to measure here" in ran.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nothing",), "there is no component named nothing"),
        (("--target", "cuda"), "the kernels of the target cuda have nothing to tune"),
        (("--target", "abacus"), "there is no target named abacus"),
        (("--trials", "0"), "0 is not in the range"),
        (("--rpc", "here", "lab"), "here is no address of an RPC tracker"),
        (("--triple", "aarch64-linux-gnu"), "cannot run here"),
        (("--database", "broken.jsonl"), "line 1 of broken.jsonl is no record"),
        (("--database", "file/found.jsonl"), "cannot be written"),
    ],
)
def test_wrong_use_is_one_line(sam3port: Program, tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    (tmp_path / "broken.jsonl").write_text("broken\n")
    (tmp_path / "file").write_text("")
    ran = sam3port("tune", *(() if "nothing" in words else ("scoring_head",)), *words)
    assert ran.returncode == 2
    assert problem in ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_tracker_there(sam3port: Program) -> None:
    with socket.socket() as probe:  # bound, and nobody listens
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        ran = sam3port("tune", "scoring_head", "--rpc", address, "lab")
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"sam3port: no RPC tracker answers at {address}")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--tuned", "nowhere.jsonl"), "there is no database nowhere.jsonl"),
        (("--tuned", "nowhere.jsonl", "--untuned"), "--tuned and --untuned exclude each other"),
    ],
)
def test_wrong_use_of_databases_by_build(sam3port: Program, words: tuple[str, ...], problem: str) -> None:
    ran = sam3port("build", "scoring_head", *words)
    assert ran.returncode == 2
    assert problem in ran.stderr
