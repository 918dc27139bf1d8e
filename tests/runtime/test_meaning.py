"""What prompts mean, by the weights that come with sam3port: an artifact finds what it is asked for, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import sam3port
from sam3port.demo.scenes import SHAPES, UNSEEN_PHOTOGRAPHS, Drawn, Scene, draw_scene
from sam3port.runtime.encoded import EncodedImage

SCENES = 12


class Shown:
    """A scene that the model has seen."""

    def __init__(self, scene: Scene, image: EncodedImage) -> None:
        self.scene = scene
        self.image = image

    def fitting(self, text: str) -> list[Drawn]:
        return [drawn for drawn in self.scene.objects if set(text.split()) <= set(drawn.kind.words)]


@pytest.fixture(scope="module")
def shown(demo_artifact: Path) -> list[Shown]:
    """Scenes of two or more objects of different shape and colour each."""
    model = sam3port.load(demo_artifact)
    return [Shown(scene, model.encode_image(Image.fromarray(scene.pixels))) for scene in _scenes()]


def _scenes() -> Iterator[Scene]:
    number = found = 0
    while found < SCENES:
        scene = draw_scene(np.random.default_rng([7, number]), UNSEEN_PHOTOGRAPHS, 2)
        number += 1
        looks = {(drawn.kind.shape, drawn.kind.colour) for drawn in scene.objects}
        if 2 <= len(scene.objects) == len(looks) == len({shape for shape, _ in looks}):
            found += 1
            yield scene


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def share(answers: list[bool]) -> float:
    assert len(answers) >= SCENES
    return sum(answers) / len(answers)


def found(drawn: Drawn, masks: NDArray[np.bool_]) -> bool:
    return any(iou(drawn.mask, mask) >= 0.5 for mask in masks)


def test_the_text_decides(shown: list[Shown]) -> None:
    """Each object is found by its own name, and not by another's."""
    own, others = [], []
    for each in shown:
        for drawn in each.scene.objects:
            masks = each.image.segment(f"{drawn.kind.colour} {drawn.kind.shape}").masks
            own.append(found(drawn, masks))
            others.append(not any(found(other, masks) for other in each.scene.objects if other is not drawn))
    assert share(own) >= 0.75
    assert share(others) >= 0.75


def test_nothing_is_found_that_is_not_there(shown: list[Shown]) -> None:
    nothing = []
    for each in shown:
        shapes = {drawn.kind.shape for drawn in each.scene.objects}
        absent = [shape for shape in SHAPES if shape not in shapes][:1]
        nothing += [len(each.image.segment(text)) == 0 for text in ("elephant", "yellow bus", *absent)]
    assert share(nothing) >= 0.75


def test_what_is_shown_in_one_scene_is_found_in_another(shown: list[Shown]) -> None:
    """By shape and colour, wherever it is and however large."""
    alike = []
    for one in shown:
        for drawn in one.scene.objects:
            for other in shown:
                there = [each for each in other.scene.objects if each.kind.words[-2:] == drawn.kind.words[-2:]]
                if other is not one and there:
                    masks = other.image.segment(like=one.image.exemplar(boxes=[drawn.box])).masks
                    alike += [found(each, masks) for each in there]
    assert share(alike) >= 0.75


def test_a_box_finds_what_is_in_it_and_a_negative_one_removes_it(shown: list[Shown]) -> None:
    kept, removed = [], []
    for each in shown:
        drawn = each.scene.objects[0]
        kept.append(found(drawn, each.image.segment(boxes=[drawn.box]).masks))
        without = each.image.segment(drawn.kind.shape, boxes=[drawn.box], box_labels=[False])
        removed.append(not found(drawn, without.masks))
    assert share(kept) >= 0.75
    assert share(removed) >= 0.75


def middle(drawn: Drawn) -> tuple[float, float]:
    """A place on the object, about half way down."""
    rows, columns = np.nonzero(drawn.mask)
    at = len(rows) // 2
    return columns[at] + 0.5, rows[at] + 0.5


def test_a_click_gives_the_object_under_it(shown: list[Shown]) -> None:
    right = []
    for each in shown:
        for drawn in each.scene.objects:
            clicked = each.image.click([middle(drawn)])
            right.append(iou(drawn.mask, clicked.masks[clicked.best]) >= 0.5)
    assert share(right) >= 0.9


def test_a_click_on_the_background_is_scored_below_one_on_an_object(shown: list[Shown]) -> None:
    below = []
    for each in shown:
        nothing = ~np.any([drawn.mask for drawn in each.scene.objects], 0)
        rows, columns = np.nonzero(nothing)
        scores = [each.image.click([(columns[at] + 0.5, rows[at] + 0.5)]).scores.max() for at in (0, len(rows) - 1)]
        objects = [each.image.click([middle(drawn)]).scores.max() for drawn in each.scene.objects]
        below += [max(scores) < score for score in objects]
    assert share(below) >= 0.75


def test_a_box_around_an_object_gives_it_as_a_click_does(shown: list[Shown]) -> None:
    right = []
    for each in shown:
        result = each.image.segment_boxes([drawn.box for drawn in each.scene.objects])
        right += [iou(drawn.mask, mask) >= 0.5 for drawn, mask in zip(each.scene.objects, result.masks, strict=True)]
    assert share(right) >= 0.9


def test_a_negative_click_removes_the_place_where_it_is(shown: list[Shown]) -> None:
    """What belongs to another object, and is said not to be wanted, is not in the mask."""
    right = []
    for each in shown:
        one, other = each.scene.objects[:2]
        clicked = each.image.click([middle(one), middle(other)], [True, False], multimask=False)
        x, y = middle(other)
        right.append(iou(one.mask, clicked.masks[0]) >= 0.5 and not clicked.masks[0][int(y), int(x)])
    assert share(right) >= 0.9


def test_a_negative_click_corrects_a_mask(shown: list[Shown]) -> None:
    """What a first click marks beside the object is taken away where a second one says so."""
    right = []
    for each in shown:
        for drawn in each.scene.objects:
            first = each.image.click([middle(drawn)])
            beside = first.masks[first.best] & ~drawn.mask
            if beside.sum() < 20:
                continue
            y, x = np.unravel_index(int(np.argmax(_depth(beside))), beside.shape)
            second = each.image.click([middle(drawn), (x + 0.5, y + 0.5)], [True, False], multimask=False)
            right.append(not second.masks[0][y, x])
    assert share(right) >= 0.75


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many times each place survives when the mask loses its border."""
    depth, left = np.zeros(mask.shape, np.int64), np.pad(mask, 1)
    while left.any():
        depth += left[1:-1, 1:-1]
        inner = left[1:-1, 1:-1] & left[:-2, 1:-1] & left[2:, 1:-1] & left[1:-1, :-2] & left[1:-1, 2:]
        left = np.pad(inner, 1)
    return depth


def test_the_order_of_prompts_does_not_matter(shown: list[Shown]) -> None:
    for each in shown[:4]:
        one, other = (drawn.box for drawn in each.scene.objects[:2])
        first = each.image.segment("circle", boxes=[one, other], box_labels=[True, False], threshold=0.05)
        second = each.image.segment("circle", boxes=[other, one], box_labels=[False, True], threshold=0.05)
        assert first.queries.tolist() == second.queries.tolist()
        np.testing.assert_allclose(first.scores, second.scores, atol=2e-5)
        assert all(iou(a, b) > 0.99 for a, b in zip(first.masks, second.masks, strict=True))
