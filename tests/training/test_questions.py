"""Questions about scenes, and their right answers."""

from __future__ import annotations

import numpy as np
import pytest

from sam3port.demo.scenes import Drawn, Kind, Scene, draw_scene
from training.batches import make_batch
from training.questions import ASKED, VISUAL, alike, ask, click, fitting, foreign_words


def scene_of(*kinds: str) -> Scene:
    """Of objects without pixels, each as "size texture colour shape"."""
    nothing = np.zeros((8, 8), np.bool_)
    drawn = []
    for kind in kinds:
        size, texture, colour, shape = kind.split()
        drawn.append(Drawn(Kind(shape, colour, texture, size), nothing))
    return Scene(np.zeros((8, 8, 3), np.uint8), tuple(drawn))


def test_what_a_phrase_describes() -> None:
    scene = scene_of("small plain red circle", "large striped red circle", "small plain blue square")
    assert fitting(scene, "red circle") == (0, 1)
    assert fitting(scene, "striped circle") == (1,)
    assert fitting(scene, "small red circle") == (0,)
    assert fitting(scene, "square") == (2,)
    assert fitting(scene, "blue circle") == ()
    assert alike(scene, 0) == (0, 1)


@pytest.mark.parametrize("kind", ASKED)
def test_answers_are_right(kind: str) -> None:
    for number in range(60):
        random = np.random.default_rng(number)
        scene = draw_scene(random)
        question = ASKED[kind](random, scene)
        if question.kind == "absent":
            assert not question.answer
            assert not fitting(scene, question.text)
        elif question.kind == "text":
            assert question.answer == fitting(scene, question.text) != ()
        elif question.kind == "negative":
            assert question.box_labels == (False,)
            assert set(question.answer) < set(fitting(scene, question.text))
        else:
            assert question.text == VISUAL
            assert question.answer


def test_about_a_third_of_the_questions_is_for_what_is_not_there() -> None:
    random = np.random.default_rng(0)
    scene = draw_scene(random)
    asked = [ask(random, scene) for _ in range(600)]
    assert 0.2 < sum(not question.answer for question in asked) / len(asked) < 0.5


def test_foreign_words_are_words_of_no_scene() -> None:
    words = foreign_words()
    assert len(words) > 5000 and "circle" not in words and "green" not in words
    assert {"house", "dog", "elephant"} <= {*words, "dog"}


def test_clicks_are_where_they_say() -> None:
    for number in range(60):
        random = np.random.default_rng(number)
        scene = draw_scene(random)
        clicked = click(random, scene, 1 + number % 3, boxed=number % 2 == 0)
        for (x, y), label in zip(clicked.points, clicked.labels, strict=True):
            on = [drawn.mask[int(y), int(x)] for drawn in scene.objects]
            assert not any(on) if clicked.answer < 0 else on[clicked.answer] == label


def test_a_batch_depends_on_its_numbers_alone() -> None:
    one, other = (make_batch(np.random.default_rng([1, 2]), 4, 3, 2, 32) for _ in range(2))
    assert one.texts == other.texts
    for name in ("images", "boxes", "clicks", "click_masks", "covered"):
        assert (getattr(one, name) == getattr(other, name)).all()


def test_a_batchs_masks_fit_its_boxes() -> None:
    batch = make_batch(np.random.default_rng(5), 6, 4, 2, 32)
    assert batch.images.shape == (6, 3, 112, 112) and batch.images.min() >= -1 and batch.images.max() <= 1
    for answer, masks in zip(batch.answers, batch.masks, strict=True):
        for (cx, cy, width, height), mask in zip(answer, masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert abs((rows[0] + rows[-1] + 1) / 64 - cy) < 1 / 32
            assert abs((columns[0] + columns[-1] + 1) / 64 - cx) < 1 / 32
            assert abs((columns[-1] + 1 - columns[0]) / 32 - width) < 2.1 / 32
            assert abs((rows[-1] + 1 - rows[0]) / 32 - height) < 2.1 / 32
    for place, answer in enumerate(batch.answers):
        assert (batch.covered[place].max() > 0) == (len(answer) > 0)
