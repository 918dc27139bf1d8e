"""Decides whether the artifact's answer is upstream's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.verify.end_to_end.found import Found, telling
from sam3port.verify.end_to_end.photographs import Photograph
from sam3port.verify.end_to_end.prompts import Kind, Prompt
from sam3port.verify.end_to_end.threshold import MIN_GAP, allowed

MIN_IOU: Final = 0.99
"""Of every mask."""
MIN_MEAN_IOU: Final = 0.999
"""Of all masks that are neither empty nor all of the picture."""
MAX_BOX_ERROR: Final = 0.5
"""Pixels of the photograph, of each side of a box."""
MAX_INPUT_ERROR: Final = 1.0
"""Of the image encoder's input: steps of 8 bits."""


@dataclass(frozen=True)
class Verdict:
    """One prompt on one photograph."""

    photograph: str
    size: tuple[int, int]
    """Width and height."""
    prompt: str
    kind: Kind
    problems: tuple[str, ...] = ()
    objects: int = 0
    """That upstream keeps; of a click its masks; 0 of an input."""
    ious: tuple[float, ...] = ()
    """Of the objects that both keep. Two empty masks have 1. Of a click also those of the low-resolution masks, whose
    holes are not filled: filling makes many a seeded model's mask all of the picture."""
    telling_ious: tuple[float, ...] = field(default=(), repr=False)
    """Those of `ious` whose mask of upstream's is neither empty nor all of the picture."""
    box_error: float = 0.0
    """Largest, pixels."""
    score_error: float = 0.0
    """Largest."""
    logit_error: float = 0.0
    """Largest of a click's low-resolution logits."""
    input_error: float = 0.0
    """Largest of the image encoder's input, steps of 8 bits."""
    threshold: float | None = None
    gap: float | None = None
    """Of upstream's scores around the threshold."""
    strays: tuple[float, ...] = ()
    """In bfloat16: of the objects that one side alone keeps how far upstream's score is from the threshold."""

    @property
    def passed(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        return f"{self.photograph}, {self.prompt}: {'; '.join(self.problems)}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": str(self.kind), "passed": self.passed}


def judge_input(photograph: Photograph, ours: NDArray[Any], theirs: NDArray[Any]) -> Verdict:
    """Compares what the image encoders are given, -1..1."""
    size = (photograph.width, photograph.height)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        problem = f"the input is {ours.dtype}{list(ours.shape)} instead of {theirs.dtype}{list(theirs.shape)}"
        return Verdict(photograph.name, size, "input", Kind.INPUT, (problem,))
    steps = np.abs(ours.astype(np.float64) - theirs) * 127.5
    error = float(steps.max())
    problems: tuple[str, ...] = ()
    if not error <= MAX_INPUT_ERROR * (1 + 1e-5):
        share = float((steps > 0.5).mean())
        problems = (f"the input differs by {error:.0f} of 255 steps, {share:.1%} of its values differ",)
    return Verdict(photograph.name, size, "input", Kind.INPUT, problems, input_error=error)


def judge(photograph: Photograph, prompt: Prompt, ours: Found, theirs: Found) -> Verdict:
    """Compares objects by their query: the same ones kept, and each one's mask, box and score."""
    size = (photograph.width, photograph.height)
    segment = prompt.kind is Kind.SEGMENT
    problems = [*nothing_shown(prompt, theirs), *misfits(photograph, ours, theirs)]
    both = np.intersect1d(ours.queries, theirs.queries)
    what = "query" if segment else "mask"
    for names, text in (
        (np.setdiff1d(theirs.queries, ours.queries), f"misses what upstream keeps: {what}"),
        (np.setdiff1d(ours.queries, theirs.queries), f"keeps what upstream does not: {what}"),
    ):
        if len(names):
            problems.append(f"{text} {', '.join(map(str, names))}")
    a, b = (np.searchsorted(side.queries, both) for side in (ours, theirs))
    ious: list[float] = []
    told: list[float] = []
    for what, mine, its in _pairs(prompt, ours, theirs, a, b):
        each = [iou(x, y) for x, y in zip(mine, its, strict=True)]
        problems += [f"{what} {q}: IoU {v:.4f}" for q, v in zip(both, each, strict=True) if not v >= MIN_IOU]
        ious += each
        told += [v for v, says in zip(each, telling(its), strict=True) if says]
    box_error = _apart(ours.boxes[a], theirs.boxes[b]) if segment else 0.0
    score_error = _apart(ours.scores[a], theirs.scores[b])
    if not box_error <= MAX_BOX_ERROR:
        problems.append(f"a box is {box_error:.2f} pixels off")
    most = allowed(theirs.gap if segment else None)
    if not score_error <= most:
        problems.append(f"a score is {score_error:.2e} off ({most:.1e} is allowed)")
    return Verdict(
        photograph.name,
        size,
        prompt.name,
        prompt.kind,
        tuple(problems),
        objects=len(theirs.queries),
        ious=tuple(ious),
        telling_ious=tuple(told),
        box_error=box_error,
        score_error=score_error,
        logit_error=0.0 if segment else _apart(ours.logits, theirs.logits),
        threshold=theirs.threshold if segment else None,
        gap=theirs.gap if segment else None,
    )


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def nothing_shown(prompt: Prompt, theirs: Found) -> list[str]:
    """Why agreement would prove nothing."""
    if prompt.kind is Kind.SEGMENT and not theirs.gap >= MIN_GAP:
        return [f"no threshold lies in a gap of {MIN_GAP:g} between upstream's scores (widest: {theirs.gap:.1e})"]
    if not len(theirs.queries):
        return ["upstream keeps no object: nothing is compared"]
    # Of clicks this is asked of each prompt over all photographs, since nothing can be chosen that makes it so.
    if prompt.kind is Kind.SEGMENT and not telling(theirs.masks).any():
        return [f"upstream's masks, {len(theirs.masks)}, are all empty or all of the picture: they prove nothing"]
    return []


def _pairs(
    prompt: Prompt, ours: Found, theirs: Found, a: NDArray[Any], b: NDArray[Any]
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Masks of the same objects, where they can be compared: what they are, the artifact's and upstream's."""
    if ours.masks.shape[1:] == theirs.masks.shape[1:]:
        yield "query" if prompt.kind is Kind.SEGMENT else "mask", ours.masks[a], theirs.masks[b]
    if prompt.kind is Kind.CLICK and ours.logits.shape == theirs.logits.shape:
        yield "low-resolution mask", ours.logits > 0, theirs.logits > 0


def misfits(photograph: Photograph, ours: Found, theirs: Found) -> list[str]:
    """Answers that cannot be about this photograph."""
    expected = (photograph.height, photograph.width)
    return [
        f"{whose} masks are {side.masks.shape[1:]}, the photograph is {expected}"
        for whose, side in (("the artifact's", ours), ("upstream's", theirs))
        if side.masks.shape[1:] != expected
    ] + (
        [f"the low-resolution masks are {ours.logits.shape} instead of {theirs.logits.shape}"]
        if ours.logits.shape != theirs.logits.shape
        else []
    )


def _apart(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Largest difference; infinite for what cannot be compared, 0 for nothing."""
    if a.shape != b.shape:
        return float("inf")
    if not a.size:
        return 0.0
    apart = np.abs(a.astype(np.float64) - b)
    return float("inf") if np.isnan(apart).any() else float(apart.max())
