"""Decides whether an artifact computed in bfloat16 answers as upstream does, as near as upstream itself does in it.

Upstream is asked twice, in float32 and under PyTorch's bfloat16 autocast, with the same thresholds. What autocast costs
is the measure, over all prompts and photographs: a single one hangs on chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sam3port.verify.end_to_end.found import Found
from sam3port.verify.end_to_end.judge import (
    MAX_BOX_ERROR,
    MIN_IOU,
    MIN_MEAN_IOU,
    Verdict,
    judge,
    misfits,
    nothing_shown,
)
from sam3port.verify.end_to_end.photographs import Photograph
from sam3port.verify.end_to_end.prompts import Kind, Prompt
from sam3port.verify.end_to_end.threshold import MAX_SCORE_ERROR
from sam3port.verify.judge_bfloat16 import MAX_RATIO


def compare(photograph: Photograph, prompt: Prompt, ours: Found, theirs: Found) -> Verdict:
    """How far an answer is from upstream's in float32. Problems are only what no rounding explains.

    Objects are matched by their query. Those that one side alone keeps are in ``Verdict.strays``: how far upstream's
    score of each is from the threshold.
    """
    verdict = judge(photograph, prompt, ours, theirs)
    problems = [*nothing_shown(prompt, theirs), *misfits(photograph, ours, theirs)]
    return replace(verdict, problems=tuple(problems), strays=_strays(ours, theirs))


def _strays(ours: Found, theirs: Found) -> tuple[float, ...]:
    alone = np.setxor1d(ours.queries, theirs.queries)
    if len(theirs.every_score):
        return tuple(float(apart) for apart in np.abs(theirs.every_score[alone] - theirs.threshold))
    return tuple(float("inf") for _ in alone)  # of a click, all masks are answers


@dataclass(frozen=True, slots=True)
class Cost:
    """What rounding to bfloat16 changes in some answers."""

    mean_iou_lost: float
    """1 - the mean IoU of all masks that are neither empty nor all of the picture."""
    most_iou_lost: float
    """1 - the least of any."""
    box: float
    """Pixels, at worst."""
    score: float
    """At worst; as far as a score may move, so far from the threshold may be what one side alone keeps."""
    stray: float
    """Of the objects that only one side keeps the furthest from the threshold, by upstream's score."""

    @staticmethod
    def of(verdicts: Iterable[Verdict]) -> Cost:
        compared = [verdict for verdict in verdicts if verdict.kind is not Kind.INPUT]
        lost = [1 - iou for verdict in compared for iou in verdict.telling_ious]
        return Cost(
            mean_iou_lost=float(np.mean(lost)) if lost else 0.0,
            most_iou_lost=max(lost, default=0.0),
            box=max((verdict.box_error for verdict in compared), default=0.0),
            score=max((verdict.score_error for verdict in compared), default=0.0),
            stray=max((apart for verdict in compared for apart in verdict.strays), default=0.0),
        )


SLACK: Final = Cost(1 - MIN_MEAN_IOU, 1 - MIN_IOU, MAX_BOX_ERROR, MAX_SCORE_ERROR, MAX_SCORE_ERROR)
"""What float32 is allowed is allowed here, too, where autocast should cost next to nothing."""


def shortcomings(artifact: Sequence[Verdict], autocast: Sequence[Verdict]) -> list[str]:
    """What the artifact loses beyond `MAX_RATIO` times what autocast does, and `SLACK`; a line each."""
    ours, theirs = Cost.of(artifact), Cost.of(autocast)
    lines = []
    for what, mine, its, slack in (
        ("of the mean IoU {} is lost", ours.mean_iou_lost, theirs.mean_iou_lost, SLACK.mean_iou_lost),
        ("of a mask's IoU {} is lost", ours.most_iou_lost, theirs.most_iou_lost, SLACK.most_iou_lost),
        ("a box is {} pixels off", ours.box, theirs.box, SLACK.box),
        ("a score is {} off", ours.score, theirs.score, SLACK.score),
        # Whether a score crosses the threshold hangs on how far scores move at all.
        ("an object {} from the threshold is kept by one side only", ours.stray, theirs.score, SLACK.stray),
    ):
        # What cannot be measured (autocast made a NaN) is no reason to allow everything.
        its = its if math.isfinite(its) else 0.0
        most = MAX_RATIO * its + slack
        if not mine <= most:
            allowed = f"{most:.3g} is allowed: {MAX_RATIO:g} times autocast's {its:.3g}, and {slack:.3g}"
            lines.append(f"{what.format(f'{mine:.3g}')} ({allowed})")
    return lines
