"""The tiny artifact on other CPUs: the answers that upstream gives here, and that the artifact gives here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from pycocotools import mask as rle

from sam3port.verify.end_to_end.judge import MAX_BOX_ERROR, MIN_IOU, MIN_MEAN_IOU, iou
from sam3port.verify.end_to_end.threshold import MAX_SCORE_ERROR
from tests.cli.conftest import call
from tests.emulated.conftest import Interpreter

On = Callable[[str], Interpreter]
Built = Callable[[str], Path]

HERE = Interpreter(Path(sys.executable))
OBJECTS = ("--text", "face", "--box", "120,40,320,280", "--box", "0,0,50,50:-", "--threshold", "0.3")
CLICK = ("--click", "--point", "220,150", "--point", "30,40:-")


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photograph") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()[:320, :400]).save(file)
    return file


def segmented(interpreter: Interpreter, artifact: Path, photograph: Path, out: Path) -> dict[str, Any]:
    """What ``sam3port segment`` leaves in ``out``: objects, and one under a click; returns the annotations of both."""
    found: dict[str, Any] = {}
    for name, asked in (("objects", OBJECTS), ("click", CLICK)):
        where = ("--artifact", artifact, "--out", out / name)
        ran = interpreter.sam3port("segment", photograph, *asked, *where, cwd=out.parent)
        assert ran.returncode == 0, ran.stderr
        found[name] = json.loads((out / name / "annotations.json").read_text(encoding="utf-8"))["annotations"]
        assert found[name], "nothing to compare"
    return found


@pytest.mark.parametrize(("cpu", "level"), [("nehalem", "x86-64-v2"), ("haswell", "x86-64-v3")])
def test_x86_64_gives_the_same_bits(
    cpu: str, level: str, on: On, built: Built, photograph: Path, tmp_path: Path
) -> None:
    """No instruction of this machine's that the artifact does not name takes part, and none is missing there."""
    there, here = on(cpu), tmp_path / "here"
    segmented(there, built(level), photograph, tmp_path / "there")
    segmented(HERE, built(level), photograph, here)
    files = [file.relative_to(here) for file in sorted(here.rglob("*")) if file.is_file()]
    assert len(files) > 6
    for file in files:
        assert (tmp_path / "there" / file).read_bytes() == (here / file).read_bytes(), file


def test_aarch64_finds_what_this_machine_finds(
    on: On, built: Built, tiny_artifact: Path, photograph: Path, tmp_path: Path
) -> None:
    there = segmented(on("neoverse-n1"), built("neoverse-n1"), photograph, tmp_path / "there")
    here = segmented(HERE, tiny_artifact, photograph, tmp_path / "here")
    ious = []
    for name, expected in here.items():
        assert len(there[name]) == len(expected)
        for ours, theirs in zip(there[name], expected, strict=True):
            assert abs(ours["score"] - theirs["score"]) <= MAX_SCORE_ERROR
            np.testing.assert_allclose(ours["bbox"], theirs["bbox"], rtol=0, atol=2 * MAX_BOX_ERROR)
            masks = (rle.decode(each["segmentation"]).astype(np.bool_) for each in (ours, theirs))
            ious.append(iou(*masks))
    assert min(ious) >= MIN_IOU
    assert np.mean(ious) >= MIN_MEAN_IOU


@pytest.mark.parametrize(
    ("cpu", "artifact"),
    [("neoverse-n1", "neoverse-n1"), ("aarch64-max", "aarch64-bfloat16"), ("nehalem", "x86-64-v2")],
)
def test_the_answers_are_upstreams(cpu: str, artifact: str, on: On, built: Built, tmp_path: Path) -> None:
    """By the proof that holds at home: texts, boxes, points, clicks; in bfloat16 beside autocast."""
    there = ("--runner", str(on(cpu).file), "--artifact", str(built(artifact)))
    asked = ("--end-to-end", *there, "--photographs", "1", "--report", "report")
    proof = call("verify", *asked, cwd=tmp_path, timeout=900, TVM_NUM_THREADS="2")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    report = json.loads((tmp_path / "report" / "end_to_end_report.json").read_text(encoding="utf-8"))
    assert report["passed"] and report["masks_compared"] > 20
    assert cpu in report["command"]
