"""Drawn scenes: always the same, and what they say about themselves is what is to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3port.demo.example import example
from sam3port.demo.scenes import COLOURS, SHAPES, SIDE, SIZES, TEXTURES, UNSEEN_PHOTOGRAPHS, Scene, draw_scene


def scenes(count: int, **options: object) -> list[Scene]:
    return [draw_scene(np.random.default_rng(number), **options) for number in range(count)]  # type: ignore[arg-type]


def test_the_same_numbers_draw_the_same_scene() -> None:
    for one, other in zip(scenes(5), scenes(5), strict=True):
        assert (one.pixels == other.pixels).all()
        assert [drawn.kind for drawn in one.objects] == [drawn.kind for drawn in other.objects]
        assert all((a.mask == b.mask).all() for a, b in zip(one.objects, other.objects, strict=True))


def test_what_is_drawn_comes_in_every_kind() -> None:
    kinds = {drawn.kind for scene in scenes(150) for drawn in scene.objects}
    assert {kind.shape for kind in kinds} == set(SHAPES)
    assert {kind.colour for kind in kinds} == set(COLOURS)
    assert {kind.texture for kind in kinds} == set(TEXTURES)
    assert {kind.size for kind in kinds} == set(SIZES)


def test_masks_are_where_the_objects_are() -> None:
    """No pixel belongs to two objects, and a plain object's pixels have its colour but for what was mixed in."""
    for scene in scenes(40):
        assert 1 <= len(scene.objects) <= 4
        assert scene.pixels.shape == (SIDE, SIDE, 3) and scene.pixels.dtype == np.uint8
        assert np.sum([drawn.mask for drawn in scene.objects], 0).max() <= 1
        for drawn in scene.objects:
            x0, y0, x1, y1 = drawn.box
            assert drawn.mask[y0:y1, x0:x1].sum() == drawn.mask.sum() > 100
            if drawn.kind.texture == "plain":
                inside = np.median(scene.pixels[drawn.mask], 0)
                assert np.abs(inside - np.array(COLOURS[drawn.kind.colour])).max() < 45
                nearest = min(COLOURS, key=lambda name: float(np.abs(inside - np.array(COLOURS[name])).sum()))
                assert nearest == drawn.kind.colour


@pytest.mark.parametrize(
    ("shape", "share"),
    # Of the box around it: pi/4; 1 when it is not turned; 1/2; and a star's.
    [("circle", (0.72, 0.82)), ("square", (0.65, 1.0)), ("triangle", (0.4, 0.55)), ("star", (0.25, 0.42))],
)
def test_a_shape_fills_its_box_as_it_should(shape: str, share: tuple[float, float]) -> None:
    alone = [scene.objects[0] for scene in scenes(120) if len(scene.objects) == 1]
    filled = [_filled(drawn.mask, drawn.box) for drawn in alone if drawn.kind.shape == shape]
    assert filled
    assert share[0] < min(filled) and max(filled) < share[1]


def test_sizes_do_not_overlap() -> None:
    alone = [scene.objects[0] for scene in scenes(120) if len(scene.objects) == 1]
    extents = {size: [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in _boxes(alone, size)] for size in SIZES}
    assert max(extents["small"]) < min(extents["large"])


def test_a_larger_picture_of_the_same_scene() -> None:
    small, large = scenes(5), scenes(5, scale=3)
    for one, other in zip(small, large, strict=True):
        assert other.pixels.shape == (3 * SIDE, 3 * SIDE, 3)
        for a, b in zip(one.objects, other.objects, strict=True):
            assert a.kind == b.kind
            assert b.mask.sum() == pytest.approx(9 * a.mask.sum(), rel=0.08)


def test_the_demos_scene_has_the_one_and_not_the_other() -> None:
    shown = example()
    words = [set(drawn.kind.words) for drawn in shown.scene.objects]
    assert any(set(shown.there.split()) <= each for each in words)
    assert not any(set(shown.absent.split()) <= each for each in words)
    # Background photographs of what is shown are not those of training.
    assert UNSEEN_PHOTOGRAPHS


def _boxes(drawn: list, size: str) -> list[tuple[int, int, int, int]]:  # type: ignore[type-arg]
    return [each.box for each in drawn if each.kind.size == size]


def _filled(mask: NDArray[np.bool_], box: tuple[int, int, int, int]) -> float:
    x0, y0, x1, y1 = box
    return float(mask.sum() / ((x1 - x0) * (y1 - y0)))
