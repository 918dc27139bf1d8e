"""Batches: scenes with questions and clicks, as the arrays that a training step takes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.demo.scenes import COLOURS, SHAPES, SIDE, SIZES, TEXTURES, TRAINING_PHOTOGRAPHS, Scene, draw_scene
from training.questions import Click, Question, ask, click

PARTS: Final = {"shape": SHAPES, "colour": tuple(COLOURS), "texture": TEXTURES, "size": SIZES}
"""By what places of an image are told apart, for the loss on the pyramid's features; class 0 is the background."""

KINDS_OF_CLICKS: Final = ((1, False), (1, False), (1, False), (2, False), (3, False), (0, True), (1, True))
"""How many points, and whether with a box."""


@dataclass(frozen=True, slots=True)
class Batch:
    images: NDArray[np.float32]
    """(n, 3, SIDE, SIDE), -1..1, as the model takes it."""
    parts: dict[str, NDArray[np.int64]]
    """(n, side, side) each: the class at every place of the finest features."""
    coarse_parts: dict[str, NDArray[np.int64]]
    """(n, side / 4, side / 4) each: the same at every place of the coarsest features, that is in every patch."""
    texts: list[str]
    image_of: NDArray[np.int64]
    """(q,): which image each question is about."""
    boxes: NDArray[np.float32]
    """(1, q, 4) cxcywh, 0..1."""
    box_labels: NDArray[np.int64]
    box_mask: NDArray[np.bool_]
    """(q, 1): true for padding, likewise for points."""
    points: NDArray[np.float32]
    point_labels: NDArray[np.int64]
    point_mask: NDArray[np.bool_]
    answers: list[NDArray[np.float32]]
    """For each question (t, 4) cxcywh, 0..1."""
    masks: list[NDArray[np.float32]]
    """For each question (t, side, side): how much of each place belongs to the object."""
    masked: NDArray[np.int64]
    """The questions whose masks are compared."""
    covered: NDArray[np.float32]
    """(q, patches): how much of each patch belongs to the answer."""
    click_image_of: NDArray[np.int64]
    clicks: NDArray[np.float32]
    """(c, p, 2) x, y in pixels; a box is two of them."""
    click_labels: NDArray[np.int64]
    """(c, p): 1, 0, 2 and 3 for a box's corners."""
    click_masks: NDArray[np.float32]
    """(c, side, side)."""


def make_batch(
    random: np.random.Generator,
    images: int,
    questions: int,
    clicks: int,
    side: int,
    photographs: tuple[str, ...] = TRAINING_PHOTOGRAPHS,
    all_masks: bool = False,
) -> Batch:
    """
    Args:
        random: all that is random comes from it.
        images: how many scenes.
        questions: how many about each.
        clicks: how many in each.
        side: of the masks.
        photographs: the backgrounds.
        all_masks: masks are compared for every question that has an answer, not for one about each scene.
    """
    scenes = [draw_scene(random, photographs) for _ in range(images)]
    asked = [ask(random, scene) for scene in scenes for _ in range(questions)]
    # As many points for all, so that none needs padding, of which upstream's decoder knows nothing.
    points, boxed = KINDS_OF_CLICKS[int(random.integers(len(KINDS_OF_CLICKS)))]
    clicked = [click(random, scene, points, boxed) for scene in scenes for _ in range(clicks)]
    small = [[shrunk(drawn.mask, side) for drawn in scene.objects] for scene in scenes]
    image_of = np.repeat(np.arange(images), questions)
    click_image_of = np.repeat(np.arange(images), clicks)
    answers = [
        np.array([_relative(scenes[image].objects[index].box) for index in question.answer], np.float32).reshape(-1, 4)
        for image, question in zip(image_of, asked, strict=True)
    ]
    masks = [
        np.array([small[image][index] for index in question.answer], np.float32).reshape(-1, side, side)
        for image, question in zip(image_of, asked, strict=True)
    ]
    nothing = np.zeros((side, side), np.float32)
    answered = np.array([len(answer) > 0 for answer in answers])
    first = [int(rows[0]) for image in range(images) if len(rows := np.flatnonzero(answered & (image_of == image)))]
    patches = _shares(side, side // 4)
    covered = [patches @ each.max(0, initial=0.0) @ patches.T if len(each) else nothing[::4, ::4] for each in masks]
    return Batch(
        images=as_input(np.stack([scene.pixels for scene in scenes])),
        parts=_parts(scenes, side, 0.5),
        coarse_parts=_parts(scenes, side // 4, 0.35),
        texts=[question.text for question in asked],
        image_of=image_of,
        answers=answers,
        masks=masks,
        masked=np.flatnonzero(answered) if all_masks else np.array(first, np.int64),
        covered=np.array(covered, np.float32).reshape(len(asked), -1),
        click_image_of=click_image_of,
        click_masks=np.stack(
            [
                nothing if each.answer < 0 else small[i][each.answer]
                for i, each in zip(click_image_of, clicked, strict=True)
            ]
        ),
        **geometry(asked),
        **click_arrays(clicked),
    )


def as_input(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 3, SIDE, SIDE), -1..1, as upstream normalises, from (n, SIDE, SIDE, 3)."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - 1


def geometry(asked: list[Question]) -> dict[str, Any]:
    """One place for a box and one for a point, most of them empty."""
    count = len(asked)
    boxes, points = np.full((1, count, 4), 0.5, np.float32), np.full((1, count, 2), 0.5, np.float32)
    box_labels, point_labels = np.ones((1, count), np.int64), np.ones((1, count), np.int64)
    for place, question in enumerate(asked):
        if question.boxes:
            boxes[0, place] = _relative(question.boxes[0])
            box_labels[0, place] = question.box_labels[0]
        if question.points:
            points[0, place] = np.array(question.points[0]) / SIDE
            point_labels[0, place] = question.point_labels[0]
    return {
        "boxes": boxes,
        "box_labels": box_labels,
        "box_mask": np.array([[not question.boxes] for question in asked]),
        "points": points,
        "point_labels": point_labels,
        "point_mask": np.array([[not question.points] for question in asked]),
    }


def click_arrays(clicked: list[Click]) -> dict[str, Any]:
    # The box's corners come first, as upstream's predictor puts them (sam1_task_predictor.py:390).
    corners = [() if each.box is None else (each.box[:2], each.box[2:]) for each in clicked]
    return {
        "clicks": np.array([(*box, *each.points) for box, each in zip(corners, clicked, strict=True)], np.float32),
        "click_labels": np.array(
            [((2, 3) if box else ()) + each.labels for box, each in zip(corners, clicked, strict=True)], np.int64
        ),
    }


def shrunk(mask: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """How much of each place of a smaller map the mask covers; the sides need not divide each other."""
    shares = _shares(mask.shape[0], side)
    return shares @ mask.astype(np.float32) @ shares.T


@functools.cache
def _shares(whole: int, parts: int) -> NDArray[np.float32]:
    edges = np.linspace(0, whole, parts + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(whole)[None]
    shared = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    return np.asarray(shared / (high - low), np.float32)


def _parts(scenes: list[Scene], side: int, least: float) -> dict[str, NDArray[np.int64]]:
    maps = {name: np.zeros((len(scenes), side, side), np.int64) for name in PARTS}
    for image, scene in enumerate(scenes):
        for drawn in scene.objects:
            mask = shrunk(drawn.mask, side) >= least
            for name, values in PARTS.items():
                maps[name][image][mask] = values.index(getattr(drawn.kind, name)) + 1
    return maps


def _relative(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value / SIDE for value in box)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
