"""When the answers of an artifact in bfloat16 pass: no more lost than upstream itself loses under autocast."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3port.build.request import BuildRequest
from sam3port.upstream.source import Upstream
from sam3port.verify.end_to_end.found import Found
from sam3port.verify.end_to_end.judge import Verdict
from sam3port.verify.end_to_end.judge_bfloat16 import SLACK, Cost, compare, shortcomings
from sam3port.verify.end_to_end.prompts import Kind
from sam3port.verify.end_to_end.proof import Proof
from tests.cli.conftest import call
from tests.verify.test_end_to_end_judge import CLICK, PHOTOGRAPH, SEGMENT, answer, clicked

EVERY = np.full(20, 0.1, np.float32)
EVERY[[3, 17, 5]] = 0.7, 0.6, 0.48
UPSTREAM = answer(every_score=EVERY)


def verdict(**changes: Any) -> Verdict:
    usual = Verdict("photo", (12, 10), "text", Kind.SEGMENT, objects=2, ious=(0.95, 1.0), telling_ious=(0.95, 1.0))
    return dataclasses.replace(usual, **changes)


def only(found: Found, *places: int) -> Found:
    kept = {name: getattr(found, name)[list(places)] for name in ("masks", "scores", "boxes", "queries")}
    return dataclasses.replace(found, **kept)


def test_the_same_answer_costs_nothing() -> None:
    same = compare(PHOTOGRAPH, SEGMENT, answer(), UPSTREAM)
    assert same.passed and same.strays == ()
    assert Cost.of([same, compare(PHOTOGRAPH, CLICK, clicked(), clicked())]) == Cost(0, 0, 0, 0, 0)
    assert not shortcomings([same], [same])


def test_a_difference_alone_is_no_problem() -> None:
    off = answer(scores=answer().scores + np.float32(0.01), boxes=answer().boxes + 2)
    seen = compare(PHOTOGRAPH, SEGMENT, off, UPSTREAM)
    assert seen.passed
    assert seen.score_error == pytest.approx(0.01, rel=1e-3)
    assert shortcomings([seen], [seen]) == []
    lines = shortcomings([seen], [compare(PHOTOGRAPH, SEGMENT, answer(), UPSTREAM)])
    assert [line.partition(" ")[2].split(" off")[0] for line in lines] == ["box is 2 pixels", "score is 0.01"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"telling_ious": (0.9, 0.7), "ious": (0.9, 0.7)}, "mean IoU"),
        ({"telling_ious": (0.9, 1.0, 1.0), "ious": (0.9, 1.0, 1.0)}, "a mask's IoU"),
        ({"box_error": 4.0}, "a box is 4 pixels"),
        ({"score_error": 0.02}, "a score is 0.02"),
        ({"score_error": float("inf")}, "a score is inf"),
        ({"strays": (0.02,)}, "an object 0.02 from the threshold"),
    ],
)
def test_more_than_autocast_loses_is_named(changes: dict[str, Any], named: str) -> None:
    autocast = [verdict(box_error=2.0, score_error=0.01)]
    assert not shortcomings([verdict(box_error=3.4, score_error=0.0159, strays=(0.0159,))], autocast)
    (line, *_) = shortcomings([verdict(**changes)], autocast)
    assert named in line
    assert "1.5 times autocast's" in line


def test_without_any_loss_of_autocast_float32s_bounds_hold() -> None:
    exact = [verdict(ious=(1.0,), telling_ious=(1.0,))]
    assert not shortcomings([verdict(score_error=SLACK.score * 0.99, ious=(1.0,), telling_ious=(1.0,))], exact)
    assert shortcomings([verdict(score_error=SLACK.score * 1.01, ious=(1.0,), telling_ious=(1.0,))], exact)


def test_a_broken_yardstick_allows_nothing_more() -> None:
    assert shortcomings([verdict(score_error=0.5)], [verdict(score_error=float("inf"))])


def test_what_one_side_alone_keeps_is_measured_by_upstreams_score() -> None:
    """One more, whose score of upstream's is just below the threshold, and one less, whose score is well above."""
    more = answer(
        masks=np.concatenate([answer().masks, answer().masks[:1]]),
        scores=np.array([0.7, 0.6, 0.51], np.float32),
        boxes=np.concatenate([answer().boxes, answer().boxes[:1]]),
        queries=np.array([3, 17, 5]),
    )
    order = np.argsort(more.queries)
    seen = compare(PHOTOGRAPH, SEGMENT, only(more, *order), only(UPSTREAM, 0, 1))
    assert seen.strays == pytest.approx((0.02,), rel=1e-4)
    assert seen.passed
    less = compare(PHOTOGRAPH, SEGMENT, only(answer(), 0), UPSTREAM)
    assert less.strays == pytest.approx((0.1,), rel=1e-4)


def test_what_no_rounding_explains_is_a_problem() -> None:
    turned = answer(masks=answer().masks.transpose(0, 2, 1))
    assert "the photograph is (10, 12)" in str(compare(PHOTOGRAPH, SEGMENT, turned, UPSTREAM))
    none = only(UPSTREAM)
    assert "upstream keeps no object" in str(compare(PHOTOGRAPH, SEGMENT, none, none))


def test_a_proof_in_bfloat16_is_judged_beside_autocast() -> None:
    build = BuildRequest(components=("scoring_head",), dtype="bfloat16")
    off = compare(PHOTOGRAPH, SEGMENT, answer(scores=answer().scores + np.float32(0.01)), UPSTREAM)
    exact = compare(PHOTOGRAPH, SEGMENT, answer(), UPSTREAM)
    assert Proof(build, (PHOTOGRAPH,), verdicts=[off], autocast=[off]).passed
    (line,) = Proof(build, (PHOTOGRAPH,), verdicts=[off], autocast=[exact]).shortcomings
    assert "a score is 0.01 off" in line


def test_the_artifact_in_bfloat16_answers_as_near_as_autocast(upstream_source: Upstream, tmp_path: Path) -> None:
    """For real: built, asked about all photographs (one's worst mask hangs on chance), with upstream asked twice."""
    words = ("verify", "--end-to-end", "--dtype", "bfloat16", "--report", "report")
    assert upstream_source.pinned
    ran = call(*words, cwd=tmp_path, timeout=1500)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads((tmp_path / "report" / "end_to_end_report.json").read_text(encoding="utf-8"))
    assert report["passed"] and set(report["runs"]) == {"upstream", "artifact", "autocast"}
    cost, theirs = report["cost"], report["cost_of_autocast"]
    assert 0 < cost["score"] <= 1.5 * theirs["score"] + SLACK.score
    assert 0 < cost["mean_iou_lost"] <= 1.5 * theirs["mean_iou_lost"] + SLACK.mean_iou_lost
    page = (tmp_path / "report" / "END_TO_END_REPORT.md").read_text(encoding="utf-8")
    assert "| mean IoU | " in page and "upstream under autocast" in page
