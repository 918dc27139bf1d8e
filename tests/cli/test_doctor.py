"""`sam3port doctor` and `sam3port patches`."""

from __future__ import annotations

import json
from pathlib import Path

from sam3port.plugins import load_plugins
from tests.cli.conftest import Program


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
