"""The judge of answers, the choice of thresholds, and the photographs: by themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sam3port.artifact.interface import Capacity
from sam3port.build.request import BuildRequest
from sam3port.errors import UsageError
from sam3port.verify.end_to_end.found import Found, telling
from sam3port.verify.end_to_end.judge import iou, judge, judge_input
from sam3port.verify.end_to_end.photographs import Photograph, own_photographs, photographs_in, upright
from sam3port.verify.end_to_end.prompts import Kind, Prompt, prompts, require
from sam3port.verify.end_to_end.proof import Proof
from sam3port.verify.end_to_end.threshold import MAX_SCORE_ERROR, MIN_GAP, allowed, between

PHOTOGRAPH = Photograph("photo", Path("photo.png"), "a thing", width=12, height=10)
SEGMENT = Prompt("text", Kind.SEGMENT, "a thing")
CLICK = Prompt("click", Kind.CLICK, points=((1.0, 2.0),), point_labels=(True,))


def answer(**changes: Any) -> Found:
    masks = np.zeros((2, 10, 12), np.bool_)
    masks[0, 2:6, 3:9] = masks[1, 1:, :4] = True
    usual = Found(
        masks=masks,
        scores=np.array([0.7, 0.6], np.float32),
        queries=np.array([3, 17]),
        boxes=np.array([[3, 2, 9, 6], [0, 1, 4, 10]], np.float32),
        threshold=0.5,
        gap=0.1,
    )
    return dataclasses.replace(usual, **changes)


def clicked(**changes: Any) -> Found:
    logits = np.linspace(-3, 3, 2 * 16, dtype=np.float32).reshape(2, 4, 4)
    return answer(queries=np.arange(2), boxes=np.zeros((0, 4), np.float32), logits=logits, **changes)


def problems(ours: Found, theirs: Found, prompt: Prompt = SEGMENT) -> str:
    return str(judge(PHOTOGRAPH, prompt, ours, theirs).problems)


def test_the_same_answer_passes() -> None:
    verdict = judge(PHOTOGRAPH, SEGMENT, answer(), answer())
    assert verdict.passed
    assert (verdict.objects, verdict.ious, verdict.telling_ious) == (2, (1.0, 1.0), (1.0, 1.0))
    assert judge(PHOTOGRAPH, CLICK, clicked(), clicked()).passed


def test_objects_are_matched_by_their_query_not_by_their_place() -> None:
    mine = {name: getattr(answer(), name)[1:] for name in ("masks", "scores", "boxes", "queries")}
    verdict = judge(PHOTOGRAPH, SEGMENT, answer(**mine), answer())
    assert verdict.problems == ("misses what upstream keeps: query 3",)
    assert verdict.ious == (1.0,)
    assert problems(answer(), answer(**mine)) == "('keeps what upstream does not: query 3',)"
    assert "query 3" in problems(answer(queries=np.array([4, 17])), answer())


def test_limits_are_where_they_are_said_to_be() -> None:
    boxes, scores = answer().boxes, answer().scores
    assert problems(answer(boxes=boxes + np.float32(0.49)), answer()) == "()"
    assert "0.51 pixels" in problems(answer(boxes=boxes + np.float32(0.51)), answer())
    assert problems(answer(scores=scores + np.float32(0.0009)), answer()) == "()"
    assert "1.10e-03" in problems(answer(scores=scores - np.float32(0.0011)), answer())
    masks = answer().masks.copy()
    masks[1, 5, 5] = True
    assert "query 17: IoU 0.9730" in problems(answer(masks=masks), answer())


@pytest.mark.parametrize("name", ["scores", "boxes"])
def test_no_number_is_never_near_enough(name: str) -> None:
    values = getattr(answer(), name).copy()
    values.flat[0] = np.nan
    assert "inf" in problems(answer(**{name: values}), answer())
    assert "inf" in problems(answer(), answer(**{name: values}))


def test_masks_of_another_size_fail() -> None:
    turned = answer().masks.transpose(0, 2, 1)
    assert "the artifact's masks are (12, 10), the photograph is (10, 12)" in problems(answer(masks=turned), answer())
    assert "the photograph is (10, 12)" in problems(answer(masks=turned), answer(masks=turned))
    assert "low-resolution" in problems(clicked(), dataclasses.replace(clicked(), logits=np.zeros((1, 4, 4))), CLICK)


def test_agreement_that_proves_nothing_fails() -> None:
    none = answer(**{name: getattr(answer(), name)[:0] for name in ("masks", "scores", "boxes", "queries")})
    assert "upstream keeps no object" in problems(none, none)
    assert problems(none, answer()) == "('misses what upstream keeps: query 3, 17',)"
    empty = answer(masks=np.zeros((2, 10, 12), np.bool_))
    assert "all empty or all of the picture" in problems(empty, empty)
    full = answer(masks=np.ones((2, 10, 12), np.bool_))
    assert "all empty or all of the picture" in problems(full, full)
    assert "no threshold" in problems(answer(gap=0.9e-4), answer(gap=0.9e-4))


def test_a_prompt_that_shows_nothing_on_any_photograph_fails_the_proof() -> None:
    """Clicks cannot be chosen so that their masks show something; one photograph where they do is enough."""
    nothing = clicked(masks=np.ones((2, 10, 12), np.bool_))
    nothing = dataclasses.replace(nothing, logits=np.ones((2, 4, 4), np.float32))
    plain, empty = (judge(PHOTOGRAPH, CLICK, each, each) for each in (clicked(), nothing))
    segment = judge(PHOTOGRAPH, SEGMENT, answer(), answer())
    assert plain.passed and empty.passed
    proof = Proof(BuildRequest(components=()), (PHOTOGRAPH,), [segment, empty])
    assert [line for line in proof.shortcomings if line.startswith("click: no photograph has a mask")]
    assert Proof(BuildRequest(components=()), (PHOTOGRAPH,), [segment, empty, plain]).passed
    assert not Proof(BuildRequest(components=()), (PHOTOGRAPH,)).passed


def test_the_mean_counts_masks_that_show_something_only() -> None:
    masks = np.zeros((2, 100, 120), np.bool_)
    masks[0, :70, :90] = True
    other = masks.copy()
    other[0, 0, :30] = False  # IoU 0.9952: near enough for one, not for the mean
    photograph = dataclasses.replace(PHOTOGRAPH, width=120, height=100)
    verdict = judge(photograph, SEGMENT, answer(masks=other), answer(masks=masks))
    assert verdict.passed
    assert verdict.ious[1] == 1.0
    proof = Proof(BuildRequest(components=()), (photograph,), [verdict])
    assert "the mean IoU of 1 masks is 0.99524" in str(proof.shortcomings)


def test_inputs_may_differ_by_one_step_of_8_bits() -> None:
    image = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    assert judge_input(PHOTOGRAPH, image, image).passed
    assert judge_input(PHOTOGRAPH, image + np.float32(2 / 255), image).passed
    assert "differs by 2 of 255 steps" in str(judge_input(PHOTOGRAPH, image + np.float32(4 / 255), image))
    assert not judge_input(PHOTOGRAPH, image[..., :-1], image).passed
    assert not judge_input(PHOTOGRAPH, np.full_like(image, np.nan), image).passed


def test_intersection_over_union() -> None:
    a, b = np.zeros((2, 4, 4), np.bool_)
    assert iou(a, b) == 1.0
    a[0] = True
    assert iou(a, b) == 0.0
    b[0, :2] = b[1, 0] = True
    assert iou(a, b) == 2 / 5


def test_answers_survive_their_file(tmp_path: Path) -> None:
    for found in (answer(), clicked()):
        np.savez(tmp_path / "answer.npz", **found.as_arrays())  # type: ignore[arg-type]
        with np.load(tmp_path / "answer.npz") as arrays:
            again = Found.from_arrays(arrays)
        for name in ("masks", "scores", "queries", "boxes", "logits"):
            np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
        assert (again.threshold, again.gap) == (found.threshold, found.gap)


@pytest.mark.parametrize("prompt", prompts(PHOTOGRAPH, long_text=True), ids=lambda prompt: prompt.name)
def test_prompts_survive_their_file(prompt: Prompt, tmp_path: Path) -> None:
    np.savez(tmp_path / "prompt.npz", **prompt.as_arrays())  # type: ignore[arg-type]
    with np.load(tmp_path / "prompt.npz") as arrays:
        assert Prompt.from_arrays(arrays) == prompt


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.data())
def test_a_threshold_lies_in_the_middle_of_a_gap(scores: list[float], data: st.DataObject) -> None:
    told = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    values, shows = np.array(scores, np.float32), np.array(told)
    chosen = between(values, shows)
    kept = values > chosen.value
    if chosen.gap == 0:
        assert not kept.any()
        return
    assert 2 <= kept.sum() <= 10
    assert (shows & (values >= values[kept].min())).any()
    distance = np.abs(values.astype(np.float64) - chosen.value).min()
    assert distance == pytest.approx(chosen.gap / 2, abs=1e-7)
    # Scores within tolerance, on both sides, do not cross a threshold whose gap is wide enough.
    if chosen.gap >= MIN_GAP:
        assert distance > 1.9 * allowed(chosen.gap)


def test_a_narrow_gap_allows_scores_to_differ_by_less() -> None:
    """So that whoever keeps other objects is always told of a score that is off, too."""
    assert allowed(None) == allowed(0.5) == allowed(4 * MAX_SCORE_ERROR) == MAX_SCORE_ERROR == 1e-3
    assert allowed(2e-3) == 5e-4
    moved = answer().scores + np.float32(6e-4)
    assert problems(answer(scores=moved), answer()) == "()"
    assert "a score is 6.00e-04 off (5.0e-04 is allowed)" in problems(answer(scores=moved), answer(gap=2e-3))


def test_the_threshold_is_in_the_widest_gap_that_keeps_something_telling() -> None:
    scores = np.array([0.9, 0.1, 0.85, 0.5, 0.05], np.float32)
    everything = np.ones(5, np.bool_)
    assert between(scores, everything).value == pytest.approx(0.3)
    only_last = np.array([False, False, False, False, True])
    assert between(scores, only_last).gap == 0
    assert telling(np.zeros((3, 2, 2), np.bool_)).tolist() == [False] * 3


def test_own_photographs_are_of_many_sizes_grey_and_turned(tmp_path: Path) -> None:
    made = {each.name: each for each in own_photographs(tmp_path)}
    assert len(made) >= 8
    assert (made["coffee-1800x1200"].width, made["coffee-1800x1200"].height) == (1800, 1200)
    assert made["rocket-portrait"].width < made["rocket-portrait"].height / 2
    assert made["rocket-panorama"].width > made["rocket-panorama"].height * 5
    assert made["cat-24x16"].width * made["cat-24x16"].height == 24 * 16
    with Image.open(made["camera-grey"].file) as grey:
        assert grey.mode == "L"
    turned = made["cat-turned"]
    with Image.open(turned.file) as stored:
        assert stored.size == (turned.height, turned.width)
        assert turned.width > turned.height
    import skimage.data

    apart = np.abs(np.asarray(upright(turned.file)).astype(int) - skimage.data.chelsea())
    assert apart.mean() < 3  # JPEG


def test_a_users_folder_is_taken_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.webp"):
        Image.new("RGB", (5, 4), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    assert [each.name for each in photographs_in(tmp_path)] == ["a.jpg", "b.png", "c.webp"]
    assert [each.name for each in photographs_in(tmp_path, 2)] == ["a.jpg", "b.png"]


def test_pictures_that_upstream_does_not_take_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UsageError, match=r"deep\.png has the mode I"):
        photographs_in(tmp_path)
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UsageError, match=r"deep\.png cannot be read"):
        photographs_in(tmp_path)


def test_the_capacity_has_to_hold_the_prompts() -> None:
    require(Capacity(prompts=1, points=3, boxes=3))
    for short in (Capacity(prompts=1, points=2, boxes=3), Capacity(prompts=1, points=3, boxes=2)):
        with pytest.raises(UsageError, match="larger capacity"):
            require(short)
    for prompt in prompts(PHOTOGRAPH, long_text=True):
        assert max(len(prompt.boxes), len(prompt.points)) <= 3
