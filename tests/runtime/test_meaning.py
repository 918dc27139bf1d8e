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


@pytest.mark.xfail(reason="the weights' decoder for clicks marks what stands out, wherever the click is", strict=True)
def test_a_click_gives_the_object_under_it(shown: list[Shown]) -> None:
    right = []
    for each in shown:
        for drawn in each.scene.objects:
            rows, columns = np.nonzero(drawn.mask)
            middle = len(rows) // 2
            clicked = each.image.click([(columns[middle] + 0.5, rows[middle] + 0.5)])
            right.append(iou(drawn.mask, clicked.masks[clicked.best]) >= 0.5)
    assert share(right) >= 0.75


def test_the_order_of_prompts_does_not_matter(shown: list[Shown]) -> None:
    for each in shown[:4]:
        one, other = (drawn.box for drawn in each.scene.objects[:2])
        first = each.image.segment("circle", boxes=[one, other], box_labels=[True, False], threshold=0.05)
        second = each.image.segment("circle", boxes=[other, one], box_labels=[False, True], threshold=0.05)
        assert first.queries.tolist() == second.queries.tolist()
        np.testing.assert_allclose(first.scores, second.scores, atol=2e-5)
        assert all(iou(a, b) > 0.99 for a, b in zip(first.masks, second.masks, strict=True))
