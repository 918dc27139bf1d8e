"""`sam3port doctor` and `sam3port patches`."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from sam3port.cli.doctor import examine
from sam3port.plugins import load_plugins
from tests.cli.conftest import Program
from tests.machine import recorded


def test_doctor_finds_this_machine_complete_for_the_cpu(sam3port: Program) -> None:
    done = sam3port("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, [f for part in ("machine", "packages", "upstream") for f in found[part] if not f["ok"]]
    assert {target["target"] for target in found["targets"]} == {"cpu", "cuda", "metal"}
    cpu = next(target for target in found["targets"] if target["target"] == "cpu")
    assert cpu["can_build"] and cpu["can_run"]
    for target in found["targets"]:
        assert target["can_run"] or target["missing"]
    assert {"apache-tvm", "pluggy"} <= {package["subject"] for package in found["packages"]}
    assert {"torch", "gitpython"} <= {package["subject"] for package in found["build_packages"]}


def test_doctor_says_which_processor_this_is(sam3port: Program) -> None:
    described = recorded.FOLDER / "intel-emerald-rapids-vm-without-amx.txt"
    found = {each["subject"]: each for each in json.loads(sam3port("doctor", "--json").stdout)["machine"]}
    assert found["processor"]["ok"] and found["instructions"]["ok"]
    found = {
        each["subject"]: each
        for each in json.loads(sam3port("doctor", "--json", SAM3PORT_CPUINFO=str(described)).stdout)["machine"]
    }
    assert "emeraldrapids" in found["processor"]["found"] and "SAM3PORT_CPUINFO" in found["processor"]["found"]
    assert "avx512bf16" in found["instructions"]["found"].partition("not ")[0]
    assert "amx-tile" in found["instructions"]["found"].partition("not ")[2]


@pytest.mark.parametrize(
    ("status", "printed", "problem"),
    [
        (0, "right\n", ""),
        (-signal.SIGILL, "", "SIGILL"),
        (0, "wrong\n", "wrong"),
        (1, "", "it failed"),
    ],
)
def test_a_kernel_is_run_before_the_cpu_is_said_to_run(
    status: int, printed: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(module: str, **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(module)
        return subprocess.CompletedProcess([module], status, printed, "")

    monkeypatch.setattr(examine.children, "run", run)
    (said,) = examine._kernel_fails() or [""]
    assert asked == ["sam3port.targets.try_kernel"]
    assert bool(said) == bool(problem) and problem in said


def test_the_kernel_that_doctor_runs_is_right_here(capsys: pytest.CaptureFixture[str]) -> None:
    from sam3port.targets.try_kernel import main

    main()
    assert capsys.readouterr().out.strip().rpartition("\n")[2] == "right"


def test_doctor_says_what_is_wrong_with_upstream(sam3port: Program, tmp_path: Path) -> None:
    done = sam3port("doctor", "--upstream", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "nowhere" in done.stdout
    assert "Traceback" not in done.stderr


def test_patches_lists_and_explains(sam3port: Program) -> None:
    listed = sam3port("patches", "--disable", "float_rope")
    assert listed.returncode == 0, listed.stderr
    known = load_plugins().patches()
    for name in known:
        assert name in listed.stdout
    for name, patch in known.items():
        explained = sam3port("patches", name) if name == "float_rope" else None
        if explained is None:
            continue
        assert explained.returncode == 0
        words = explained.stdout.split()
        for text in (patch.summary, patch.retire_when):
            assert text.split()[0] in words
        for edit in patch.edits:
            assert f"{edit.module}:" in explained.stdout
    unknown = sam3port("patches", "no_such_patch")
    assert unknown.returncode == 2
    assert "float_rope" in unknown.stderr
