"""The distribution in docs/examples, just as docs/plugins.md shows it: installed by pip, and all in it used."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sam3port.model.preset import preset
from sam3port.upstream.source import Upstream
from tests.cli.conftest import Completed, call

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"
EXAMPLE = DOCUMENT.parent / "examples" / "acme-sam3"
NAME = "object_pointer"


def documented() -> dict[str, str]:
    """The files of the document: code blocks that begin with a comment that names one."""
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:toml|python)\n# (\S+)\n(.*?)```", text, flags=re.DOTALL)
    return {name: content for name, content in blocks if "/" in name or name == "pyproject.toml"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Path:
    """The folder that pip installed the distribution into; on PYTHONPATH it is part of an environment."""
    assert upstream_source.pinned
    project = tmp_path_factory.mktemp("acme") / "acme-sam3"
    shutil.copytree(EXAMPLE, project)  # pip leaves files of its own where it builds
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--target", str(target), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (target / "acme_sam3-1.0.dist-info" / "entry_points.txt").is_file()
    return target


def sam3port(installed: Path, *arguments: str) -> Completed:
    done = call(*arguments, cwd=installed, timeout=600, PYTHONPATH=str(installed))
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def built(installed: Path) -> Path:
    done = sam3port(installed, "build", NAME, "--out", "built")
    assert done.returncode == 0, done.stderr
    return installed / "built"


def test_the_document_shows_it_whole() -> None:
    files = [file for file in EXAMPLE.rglob("*") if file.suffix in {".py", ".toml"}]
    there = {file.relative_to(EXAMPLE).as_posix(): file.read_text(encoding="utf-8") for file in files}
    assert documented() == there


def test_it_is_listed_among_ours(installed: Path) -> None:
    done = sam3port(installed, "components")
    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout
    assert "what the tracker remembers about an object" in done.stdout
    assert "vision_backbone" in done.stdout


def test_it_is_shown(installed: Path) -> None:
    done = sam3port(installed, "components", NAME)
    assert done.returncode == 0, done.stderr
    for text in ("mask_token", "object_logit", "sam3_tracker_base.py:372", "linear"):
        assert text in done.stdout
    # Three layers of the width of the model, and the pointer of what is hidden.
    width = preset("tiny").d_model
    assert f"parameters  {3 * width * (width + 1) + width:,} numbers" in done.stdout


def test_it_is_exported_alone(installed: Path) -> None:
    done = sam3port(installed, "build", NAME, "--until", "export", "--out", "exported")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (installed / "exported" / NAME).iterdir()} == {"exported.pt2", "stage.json"}


def test_it_is_compiled(built: Path) -> None:
    record = json.loads((built / NAME / "stage.json").read_text(encoding="utf-8"))
    assert list(record["stages"]) == ["export", "import", "optimise", "pack", "kernels", "compile"]
    assert (built / NAME / "lib.so").stat().st_size > 0


def test_it_is_verified(installed: Path, built: Path) -> None:
    done = sam3port(installed, "verify", NAME, "--built", str(built), "--report", "report")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((installed / "report" / "verification_report.json").read_text(encoding="utf-8"))
    assert report["passed"]
    cases = {case for result in report["outputs"] for case in result["cases"]}
    assert cases == {"seed 1000", "seed 1001", "seed 1002", "in sight", "hidden", "on the border"}
    assert all(result["max_absolute"] < 1e-5 for result in report["outputs"])
    assert any(result["max_absolute"] > 0 for result in report["outputs"]), "TVM and MKL to the last bit?"


def test_its_target_builds_what_is_proved(installed: Path) -> None:
    done = sam3port(installed, "verify", NAME, "--target", "plain", "--seeds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{NAME}" in done.stdout and "0 outside" in done.stdout


def test_its_patch_is_applied_and_can_be_left_out(installed: Path) -> None:
    states = {}
    for words in ((), ("--disable", "acme_version")):
        done = sam3port(installed, "apply-patches", "--json", *words)
        assert done.returncode == 0, done.stderr
        states[words] = {patch["name"]: patch["state"] for patch in json.loads(done.stdout)["patches"]}
    assert states[()]["acme_version"] == "applied"
    assert states["--disable", "acme_version"].get("acme_version") != "applied"


def test_a_mistake_in_it_is_found(installed: Path, built: Path) -> None:
    """An interface that is not what was built: an error that names it, before anything is compared."""
    source = installed / "acme_sam3" / "object_pointer.py"
    right = source.read_text(encoding="utf-8")
    source.write_text(right.replace('"object_logit", (batch, 1)', '"object_logit", (batch, 2)'), encoding="utf-8")
    try:
        done = sam3port(installed, "verify", NAME, "--built", str(built))
    finally:
        source.write_text(right, encoding="utf-8")
    assert done.returncode == 2
    assert f"was built with other inputs than {NAME} declares now: ('object_logit', [1, 1], 'float32')" in done.stderr


def test_without_the_distribution_it_is_gone(tmp_path: Path) -> None:
    done = call("verify", NAME, cwd=tmp_path)
    assert done.returncode == 2
    assert f"there is no component named {NAME}" in done.stderr
