"""How well questions about scenes that training has not seen are answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.demo.scenes import UNSEEN_PHOTOGRAPHS, Scene, draw_scene
from training.answers import Found, See
from training.questions import ASKED, Click, Question, click

SEED: Final = 500
"""Of the scenes that judge. Training's begin with the recipe's seed and use other photographs."""
LEAST_IOU: Final = 0.5
"""From here on an object counts as found."""
CLICKS: Final = ((1, False), (2, False), (0, True))
"""How many points, and whether with a box."""
CORRECTIONS: Final = 2
"""Further points, where the answer to one point is wrong."""
SCALE: Final = 2
"""The pictures are so many times larger than what the model takes, as pictures are; and so is the truth."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scene and what is asked about it."""

    scene: Scene
    questions: tuple[Question, ...]
    clicks: tuple[Click, ...]


@dataclass(slots=True)
class Tally:
    """What was counted for one kind of question."""

    questions: int = 0
    objects: int = 0
    """That fit."""
    found: int = 0
    """Of them, those of which a mask with a score above the threshold covers at least half (IoU)."""
    overlap: float = 0.0
    """The sum of the IoU of those found."""
    answered: int = 0
    """Masks with a score above the threshold."""
    right: int = 0
    """Of them, those that are an object that fits."""
    presence: int = 0
    """Questions to which "there is something" or "there is nothing" was answered rightly."""

    def add(self, truth: NDArray[np.bool_], masks: NDArray[np.bool_]) -> None:
        """
        Args:
            truth: (t, height, width), the objects that fit.
            masks: (n, height, width), the answer.
        """
        ious = overlaps(truth, masks)
        best = ious.max(1, initial=0.0)
        self.questions += 1
        self.objects += len(truth)
        self.found += int((best >= LEAST_IOU).sum())
        self.overlap += float(best[best >= LEAST_IOU].sum())
        self.answered += len(masks)
        self.right += int((ious.max(0, initial=0.0) >= LEAST_IOU).sum())
        self.presence += (len(truth) > 0) == (len(masks) > 0)

    def as_json(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "objects": self.objects,
            "recall": _share(self.found, self.objects),
            "mean IoU of found": _share(self.overlap, self.found),
            "precision": _share(self.right, self.answered),
            "presence right": _share(self.presence, self.questions),
        }


@dataclass(slots=True)
class Clicked:
    """What was counted of clicks of one point, and of the points by which their answers were corrected."""

    overlaps: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in range(1, CORRECTIONS + 2)})
    """By number of points: every IoU with the object."""
    on_objects: list[float] = field(default_factory=list)
    """The IoU that the model says of its best mask."""
    on_background: list[float] = field(default_factory=list)
    """The same, where the click is on no object."""
    taken: int = 0
    """Points that say "not this", and are outside of the mask then."""
    to_take: int = 0

    def as_json(self) -> dict[str, Any]:
        means = {f"mean IoU, {count} point(s)": _mean(overlaps) for count, overlaps in self.overlaps.items()}
        return {
            **means,
            "score on objects": _mean(self.on_objects),
            "score on background": _mean(self.on_background),
            "background by score below 0.5": _mean([float(score < 0.5) for score in self.on_background]),
            "objects by score from 0.5 on": _mean([float(score >= 0.5) for score in self.on_objects]),
            "negative points obeyed": _share(self.taken, self.to_take),
        }


def cases(count: int, seed: int = SEED) -> Iterator[Case]:
    """Scenes on photographs that training does not use, each with a text for something that is there, one for
    something that is not, one question by an example, and clicks."""
    for number in range(count):
        random = np.random.default_rng([seed, number])
        scene = draw_scene(random, UNSEEN_PHOTOGRAPHS, SCALE)
        texts = [ASKED[kind](random, scene) for kind in ("text", "absent")]
        example = ASKED[("box", "negative", "point")[number % 3]](random, scene)
        clicks = tuple(click(random, scene, points, boxed) for points, boxed in CLICKS)
        yield Case(scene, (*texts, example), clicks)


def judge(see: See, asked: Iterator[Case]) -> tuple[dict[str, Tally], list[Found]]:
    """Asks everything; what was counted by kind of question, and every answer."""
    tallies: dict[str, Tally] = {}
    answers: list[Found] = []
    for case in asked:
        seen = see(case.scene.pixels)
        every = np.stack([drawn.mask for drawn in case.scene.objects])
        for question in case.questions:
            found = seen.ask(question)
            tallies.setdefault(question.kind, Tally()).add(every[list(question.answer)], found.masks)
            answers.append(found)
        for each in case.clicks:
            found = seen.click(each)
            if each.answer >= 0:
                best = found.masks[[int(np.argmax(found.scores))]]
                kind = "click in a box" if each.box else f"click, {len(each.points)} point(s)"
                tallies.setdefault(kind, Tally()).add(every[[each.answer]], best)
            answers.append(found)
    return tallies, answers


def judge_clicks(see: See, asked: Iterator[Case]) -> Clicked:
    """Clicks of one point, corrected where the answer is most wrong; and what is said of clicks on the background."""
    counted = Clicked()
    for case in asked:
        seen = see(case.scene.pixels)
        for each in case.clicks:
            if len(each.points) != 1:
                continue
            mask, score = _best(seen.click(each))
            if each.answer < 0:
                counted.on_background.append(score)
                continue
            counted.on_objects.append(score)
            truth = case.scene.objects[each.answer].mask
            counted.overlaps[1].append(_overlap(truth, mask))
            for count in range(2, CORRECTIONS + 2):
                (x, y), wanted = most_wrong(truth, mask)
                each = replace(each, points=(*each.points, (x, y)), labels=(*each.labels, wanted))
                mask, _ = _best(seen.click(each))
                counted.overlaps[count].append(_overlap(truth, mask))
                counted.to_take += not wanted
                counted.taken += not wanted and not mask[int(y), int(x)]
    return counted


def most_wrong(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> tuple[tuple[float, float], bool]:
    """The middle of the largest place where a mask is wrong, and whether the object is there.

    Where nothing is wrong, the middle of the object.
    """
    from scipy.ndimage import distance_transform_edt

    wrong = truth != mask
    deep = distance_transform_edt(np.pad(wrong if wrong.any() else truth, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(deep)), deep.shape)
    return (float(x) + 0.5, float(y) + 0.5), bool(truth[y, x])


def _best(found: Found) -> tuple[NDArray[np.bool_], float]:
    at = int(np.argmax(found.scores))
    return found.masks[at], float(found.scores[at])


def _overlap(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    return float(overlaps(truth[None], mask[None])[0, 0])


def agreement(one: list[Found], other: list[Found]) -> tuple[int, int]:
    """How many objects both sides have (same query, IoU at least 0.95, score within 0.025), and how many there are."""
    same = total = 0
    for mine, its in zip(one, other, strict=True):
        at = {int(query): place for place, query in enumerate(its.queries)}
        total += len(set(mine.queries.tolist()) | set(at))
        for place, query in enumerate(mine.queries.tolist()):
            if query in at:
                there = at[query]
                iou = overlaps(mine.masks[[place]], its.masks[[there]])[0, 0]
                same += bool(iou >= 0.95 and abs(mine.scores[place] - its.scores[there]) <= 0.025)
    return same, total


def overlaps(truth: NDArray[np.bool_], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(t, n) IoU; 1 for two empty masks."""
    if not len(truth) or not len(masks):
        return np.zeros((len(truth), len(masks)))
    a, b = truth.reshape(len(truth), -1).astype(np.float64), masks.reshape(len(masks), -1).astype(np.float64)
    shared = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - shared
    return np.where(either > 0, shared / np.maximum(either, 1), 1.0)


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
