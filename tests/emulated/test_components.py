"""The components' proof on aarch64: what was compiled is run there, upstream here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.cli.conftest import call
from tests.emulated.conftest import ARTIFACTS, Interpreter

FEW: Final = ("scoring_head", "prompt_encoder", "geometry_encoder")
"""Attention, linear layers, convolutions, roi_align and grid_sample among them; all are in the committed report."""


def test_the_compiled_run_is_as_near_to_upstream_there(on: Callable[[str], Interpreter], tmp_path: Path) -> None:
    there = (*ARTIFACTS["neoverse-n1"], "--runner", str(on("neoverse-n1").file))
    asked = (*FEW, "--seeds", "1", *there, "--report", "report")
    proof = call("verify", *asked, cwd=tmp_path, timeout=900, TVM_NUM_THREADS="2")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    report = json.loads((tmp_path / "report" / "verification_report.json").read_text(encoding="utf-8"))
    assert report["passed"] and {result["component"] for result in report["outputs"]} == set(FEW)


def test_the_runner_checks_the_cpu(on: Callable[[str], Interpreter], tmp_path: Path) -> None:
    """What it lacks is named as at home, and no signal ends it."""
    options = ("--mcpu", "x86-64-v3", "--runner", str(on("nehalem").file))
    proof = call("verify", "scoring_head", "--seeds", "1", *options, cwd=tmp_path, timeout=900)
    assert proof.returncode == 1, proof.stdout + proof.stderr
    assert "scoring_head: the compiled run failed: " in proof.stdout
    assert "needs a CPU with avx" in proof.stdout and "signal" not in proof.stdout
