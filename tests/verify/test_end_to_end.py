"""The artifact against upstream's own processor, on photographs: by the command, then one thing broken at a time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

import sam3port
from sam3port.build.request import BuildRequest
from sam3port.runtime.model import Model
from sam3port.verify.end_to_end import run_artifact
from sam3port.verify.end_to_end.found import Found
from sam3port.verify.end_to_end.judge import Verdict, judge, judge_input
from sam3port.verify.end_to_end.photographs import SCENES, Photograph, own_photographs
from sam3port.verify.end_to_end.prompts import Kind, prompts
from sam3port.verify.end_to_end.proof import found, load, prove, with_threshold
from sam3port.verify.end_to_end.sides import Side
from tests.cli.conftest import call
from tests.verify.end_to_end_breaks import BREAKS

SHOWN = 3
"""Photographs: plain, turned by EXIF, grey. The command takes all eight unless told otherwise."""


@dataclasses.dataclass(frozen=True)
class Verified:
    """What `sam3port verify --end-to-end` left."""

    folder: Path

    @property
    def kept(self) -> Path:
        """Photographs, questions and answers."""
        return self.folder / "kept"

    @property
    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "report" / "end_to_end_report.json").read_text("utf-8"))
        return content

    @property
    def page(self) -> str:
        return (self.folder / "report" / "END_TO_END_REPORT.md").read_text("utf-8")

    @property
    def completed(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "completed.json").read_text("utf-8"))
        return content


@pytest.fixture(scope="session")
def verified(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Verified:
    """One for all of xdist's workers: the first makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    made = Verified((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "end_to_end")
    with filelock.FileLock(made.folder.with_suffix(".lock")):
        if not (made.folder / "completed.json").exists():
            made.folder.mkdir()
            options = ("--end-to-end", "--artifact", str(tiny_artifact), "--photographs", str(SHOWN))
            done = call("verify", *options, "--report", "report", "--keep", "kept", cwd=made.folder, timeout=900)
            content = {"status": done.returncode, "out": done.stdout, "err": done.stderr}
            (made.folder / "completed.json").write_text(json.dumps(content), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def model(tiny_artifact: Path) -> Model:
    return sam3port.load(tiny_artifact)


def test_the_artifact_gives_upstreams_answers(verified: Verified) -> None:
    completed, report = verified.completed, verified.report
    assert completed["status"] == 0, completed["out"] + completed["err"]
    assert report["passed"] and not report["failures"]
    assert report["mean_iou"] >= 0.999
    assert report["masks_compared"] > 50
    results = report["results"]
    assert {result["photograph"] for result in results} == {scene.name for scene in SCENES[:SHOWN]}
    for result in results:
        assert min(result["ious"], default=1.0) >= 0.99
        assert result["box_error"] <= 0.5
        assert result["score_error"] <= 1e-3
        if result["kind"] != "input":
            assert result["objects"] >= (2 if result["kind"] == "segment" else 1)


def test_the_input_tensor_is_upstreams_to_the_last_bit(verified: Verified) -> None:
    inputs = [result for result in verified.report["results"] if result["kind"] == "input"]
    assert [result["input_error"] for result in inputs] == [0.0] * SHOWN


def test_the_reference_has_the_portability_patches_only(verified: Verified) -> None:
    patches = verified.report["runs"]["upstream"]["patches"]
    assert "cpu_device" in patches
    assert not {"float_rope", "feat_sizes", "static_shapes", "symbolic_prompts"} & set(patches)


def test_report_and_output_show_every_prompt_and_no_place_of_this_machine(
    verified: Verified, tiny_artifact: Path
) -> None:
    out, page = verified.completed["out"], verified.page
    for result in verified.report["results"]:
        if result["kind"] != "input":
            assert f"| {result['prompt']} |" in page
            assert result["prompt"] in out
    assert "the same answers" in out
    assert "![upstream's answers, the artifact's, and where they differ](end_to_end.jpg)" in page
    for text in (page, json.dumps(verified.report)):
        assert str(tiny_artifact) not in text
        assert str(verified.folder) not in text
    from PIL import Image

    with Image.open(verified.folder / "report" / "end_to_end.jpg") as drawn:
        assert drawn.width > 1000
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 50


@pytest.mark.filterwarnings("ignore:the text is longer")
@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_broken_is_noticed_and_named(
    broken: str, verified: Verified, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, against upstream's answers of the whole proof."""
    apply, named, where = BREAKS[broken]
    photograph = own_photograph(verified, "cat-turned" if broken == "EXIF is ignored" else "coffee")
    apply(monkeypatch)
    failed = {each.prompt: str(each) for each in answered_anew(photograph, verified, model) if not each.passed}
    assert where <= set(failed)
    assert any(named in line for line in failed.values()), failed
    if broken in {"the earlier mask does not arrive", "multimask does not arrive", "text is not cleaned"}:
        assert set(failed) == where


@pytest.mark.filterwarnings("ignore:the text is longer")
def test_nothing_broken_passes_in_this_process_too(verified: Verified, model: Model) -> None:
    """Otherwise the breaks above could be noticed for another reason."""
    for name in ("coffee", "cat-turned"):
        assert [
            str(each) for each in answered_anew(own_photograph(verified, name), verified, model) if not each.passed
        ] == []


def test_an_artifact_of_other_weights_fails(verified: Verified, tiny_artifact: Path, tmp_path: Path) -> None:
    """Through the processes of a proof: upstream with the weights of seed 1 beside an artifact of seed 0."""
    proof = prove(BuildRequest(components=(), seed=1), tiny_artifact, [own_photograph(verified, "coffee")], tmp_path)
    assert not proof.passed
    assert not proof.failures
    failed = {verdict.prompt for verdict in proof.verdicts if not verdict.passed}
    everything = {verdict.prompt for verdict in proof.verdicts}
    assert everything - failed == {"input"}
    assert any("the mean IoU of" in line for line in proof.shortcomings)


def test_what_one_side_cannot_compute_is_a_failure_and_the_rest_goes_on(
    verified: Verified, tiny_artifact: Path, tmp_path: Path
) -> None:
    cut = dataclasses.replace(own_photograph(verified, "coffee"), name="cut", file=tmp_path / "cut.png")
    cut.file.write_bytes(own_photograph(verified, "coffee").file.read_bytes()[:20_000])
    good = own_photograph(verified, "camera-grey")
    proof = prove(BuildRequest(components=()), tiny_artifact, [cut, good], tmp_path / "kept")
    assert not proof.passed
    (failure,) = proof.failures
    assert (failure.component, str(failure.run)) == ("cut", "upstream")
    assert {verdict.photograph for verdict in proof.verdicts} == {"camera-grey"}
    assert all(verdict.passed for verdict in proof.verdicts)


REFUSED: dict[tuple[str, ...], str] = {
    ("--images", "empty"): "--images belongs to --end-to-end",
    ("--artifact", "empty"): "--artifact belongs to --end-to-end",
    ("--end-to-end", "scoring_head"): "all of the model",
    ("--end-to-end", "--built", "empty"): "--built",
    ("--end-to-end", "--images", "empty"): "holds no pictures",
    ("--end-to-end", "--images", "nowhere"): "is not a folder",
    ("--end-to-end", "--artifact", "empty"): "is no artifact",
    ("--end-to-end", "--points", "2"): "build with a larger capacity",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_verified_is_refused_at_once(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(call("verify", *arguments, cwd=tmp_path), REFUSED[arguments])
    assert [each.name for each in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seed", "1"), "was built with the seed 0, not 1"),
        (("--preset", "full"), "was built with the preset tiny, not full"),
        (("--checkpoint", "sam3.pt"), "was built with the seed 0"),
        (("--mcpu", "x86-64-v3"), "--mcpu says how to build"),
    ],
)
def test_an_artifact_of_something_else_than_asked_is_refused(
    options: tuple[str, ...], named: str, tiny_artifact: Path, tmp_path: Path
) -> None:
    done = call("verify", "--end-to-end", "--artifact", str(tiny_artifact), *options, cwd=tmp_path)
    assert_refused(done, named)


def assert_refused(done: subprocess.CompletedProcess[str], named: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def own_photograph(verified: Verified, name: str) -> Photograph:
    return next(each for each in own_photographs(verified.kept / "photographs", SHOWN) if each.name == name)


def answered_anew(photograph: Photograph, verified: Verified, model: Model) -> list[Verdict]:
    """The artifact's answers from this process, judged against upstream's of the whole proof."""
    compute = run_artifact.ready(model, photograph.file)
    verdicts = []
    for asked in prompts(photograph, long_text=photograph.name == SCENES[0].name):
        prompt = with_threshold(verified.kept, photograph.name, asked)
        ours = compute(prompt.as_arrays())
        if prompt.kind is Kind.INPUT:
            theirs = load(verified.kept, Side.UPSTREAM, photograph.name, prompt)["input"]
            verdicts.append(judge_input(photograph, ours["input"], theirs))
        else:
            answer = found(verified.kept, Side.UPSTREAM, photograph.name, prompt)
            verdicts.append(judge(photograph, prompt, Found.from_arrays(ours), answer))
    return verdicts
