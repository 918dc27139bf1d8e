"""``--runner``: another interpreter runs what was built, and nothing else. That other CPUs do is in tests/emulated."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sam3port.build.request import BuildRequest
from sam3port.cli.verify.words import words
from tests.cli.conftest import call

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the runner is a shell script")


@POSIX
def test_it_runs_what_was_built_and_nothing_else(tiny_built: Path, tmp_path: Path) -> None:
    runner = tmp_path / "a runner"
    runner.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/said"\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    runner.chmod(0o755)
    options = ("--built", str(tiny_built), "--seeds", "1", "--runner", f"'{runner}' -B", "--report", "report")
    done = call("verify", "scoring_head", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (said,) = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    assert said.startswith("-B ") and "sam3port.verify.run_tvm" in said
    report = (tmp_path / "report" / "verification_report.json").read_text(encoding="utf-8")
    assert "--runner ''\"'\"'a runner'\"'\"' -B'" in json.loads(report)["command"]
    assert str(tmp_path) not in report


@POSIX
def test_one_that_cannot_start_sam3port_is_said(tiny_built: Path, tmp_path: Path) -> None:
    done = call("verify", "scoring_head", "--built", str(tiny_built), "--runner", "false", cwd=tmp_path)
    assert done.returncode == 1
    assert "the compiled run failed before its first component: its process ended with status 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-such-program -m", "there is no program no-such-program"),
        ("python '", "No closing quotation"),
        (" ", "--runner is empty"),
    ],
)
def test_what_is_no_command_is_said(given: str, said: str, tmp_path: Path) -> None:
    done = call("verify", "scoring_head", "--runner", given, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_report_names_the_runner_without_its_place() -> None:
    asked = words(
        BuildRequest(components=("scoring_head",), seed=0), ("/opt/emulator", "-L", "/opt/root", "build/python")
    )
    assert asked[asked.index("--runner") + 1] == "emulator -L root build/python"
