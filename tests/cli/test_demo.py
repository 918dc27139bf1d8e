"""``sam3port demo``: the README's main job, and what it remembers of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam3port.cli.demo.parity import Parity
from sam3port.demo.example import example
from sam3port.upstream.source import Upstream
from tests.cli.conftest import call
from tests.cli.segment.segmenting import whole_files

REPORT = "verification_report.json"


@dataclass(frozen=True)
class Demo:
    """A demo that ended."""

    folder: Path
    ran: subprocess.CompletedProcess[str]

    @property
    def ending(self) -> str:
        return self.ran.stdout.rpartition("Wrote\n")[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Demo:
    """Run once in an empty folder. Not to be written to."""
    assert upstream_source.pinned
    folder = tmp_path_factory.mktemp("demo")
    ran = call("demo", "--out", "demo", cwd=folder, timeout=1500)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return Demo(folder, ran)


@pytest.fixture
def parity(demo: Demo, tmp_path: Path) -> Parity:
    """The demo's report, and its artifact's description, to be changed."""
    for name in ("report", "artifact"):
        (tmp_path / name).mkdir()
    shutil.copy(demo.folder / "demo" / "report" / REPORT, tmp_path / "report")
    shutil.copy(demo.folder / "demo" / "artifact" / "manifest.json", tmp_path / "artifact")
    return Parity(tmp_path / "report", tmp_path / "artifact", "tiny")


def test_from_the_pin_to_an_overlay_and_the_proof(demo: Demo) -> None:
    steps = [line.split()[2] for line in demo.ran.stdout.splitlines() if line.startswith("$ sam3port ")]
    assert steps == ["apply-patches", "build", "segment", "segment", "verify", "verify"]
    assert "weights: those that come with sam3port" in demo.ran.stderr
    out = demo.folder / "demo"
    assert json.loads((out / "report" / REPORT).read_bytes())["passed"] is True
    assert json.loads((out / "report" / "end_to_end" / "end_to_end_report.json").read_bytes())["passed"] is True
    for file in ("demo/artifact", "demo/segmented/scene.overlay.png", "demo/report"):
        assert file in demo.ending
        assert (demo.folder / file).exists()
    assert "mask_decoder" in demo.ending and "pass" in demo.ending and "FAIL" not in demo.ending
    assert demo.ending.rstrip().endswith("The port's numbers are upstream's.")


def test_what_was_asked_for_is_found_and_what_is_not_there_is_not(demo: Demo) -> None:
    shown = example()
    said = re.search(rf"{shown.there}: 1 in the scene, 1 found; IoU with the drawn truth (0\.\d+)\.", demo.ran.stdout)
    assert said is not None, demo.ran.stdout
    assert float(said[1]) > 0.7
    assert f"The scene has no {shown.absent}, and nothing was found." in demo.ran.stdout
    out = demo.folder / "demo"
    assert whole_files(out / "segmented") == {"annotations.json", "scene.overlay.png", "scene.masks/001.png"}
    assert whole_files(out / "segmented-absent") == {"annotations.json", "scene.overlay.png"}
    pictures = [out / "pictures" / "scene.png", out / "segmented" / "scene.overlay.png"]
    before, after = (np.asarray(Image.open(picture)) for picture in pictures)
    assert (before == shown.scene.pixels).all()
    assert 0.02 < (before != after).any(-1).mean() < 0.5


def test_a_second_run_verifies_nothing_again(demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(demo.folder / "demo", tmp_path / "demo")
    again = call("demo", "--out", "demo", cwd=tmp_path, timeout=600)
    assert again.returncode == 0, again.stderr
    assert "Verified before, and nothing has changed since" in again.stdout
    assert "$ sam3port verify" not in again.stdout
    assert again.stdout.rpartition("Wrote\n")[2] == demo.ending


def test_a_proof_holds_until_something_changes(parity: Parity, tmp_path: Path) -> None:
    assert not parity.known()
    parity.remember()
    assert parity.known()
    for file in (tmp_path / "artifact" / "manifest.json", tmp_path / "report" / REPORT):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        assert not parity.known()
        file.write_bytes(content)
        assert parity.known()
    parity.forget()
    assert not parity.known()


def test_the_table_says_what_fails(parity: Parity, tmp_path: Path) -> None:
    table, passed = parity.table()
    assert passed
    names = list(table.columns[0].cells)
    assert {"image_encoder", "text_encoder", "mask_decoder"} <= set(names)
    assert {str(cell) for cell in table.columns[1].cells} == {"pass"}
    file = tmp_path / "report" / REPORT
    content = json.loads(file.read_bytes())
    wrong = content["outputs"][-1]
    wrong.update(passed=False, max_absolute="inf")
    content["passed"] = False
    file.write_text(json.dumps(content), encoding="utf-8")
    table, passed = parity.table()
    assert not passed
    states = dict(zip(names, map(str, table.columns[1].cells), strict=True))
    assert [name for name, state in states.items() if state == "FAIL"] == [wrong["component"]]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = call("demo", "--out", "file/demo", cwd=tmp_path)
    assert ran.returncode == 2
    assert "cannot be made" in ran.stderr
    assert "Traceback" not in ran.stderr
