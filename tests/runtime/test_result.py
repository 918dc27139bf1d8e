"""Results as pictures and as COCO's annotations."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from pycocotools import mask as rle

from sam3port.errors import UsageError
from sam3port.runtime import draw
from sam3port.runtime.masks.region import known
from sam3port.runtime.result import Clicked, Result

PHOTO = skimage.data.astronaut()
HEIGHT, WIDTH = PHOTO.shape[:2]


def discs() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([(x - 220) ** 2 + (y - 330) ** 2 < 150**2, (x - 222) ** 2 + (y - 105) ** 2 < 60**2])


def result() -> Result:
    boxes = np.array([[70, 180, 371, 481], [160, 45, 283, 166]], np.float32)
    scores = np.array([0.97, 0.61], np.float32)
    return Result(known(discs()), boxes, scores, np.array([3, 7]), ("face",), PHOTO, np.zeros(2, np.int64))


def nothing() -> Result:
    return empty(PHOTO)


def empty(pixels: np.ndarray) -> Result:
    regions = known(np.zeros((0, *pixels.shape[:2]), np.bool_))
    none = np.zeros(0, np.int64)
    return Result(regions, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), none, ("whale",), pixels, none)


def test_coco_is_what_pycocotools_reads() -> None:
    annotations = json.loads(json.dumps(result().to_coco(image_id=5, category_id=9)))
    assert [each["id"] for each in annotations] == [1, 2]
    for found, mask in zip(annotations, discs(), strict=True):
        np.testing.assert_array_equal(rle.decode(found["segmentation"]), mask)
        assert found["segmentation"]["size"] == [HEIGHT, WIDTH]
        assert found["area"] == mask.sum() == rle.area(found["segmentation"])
        assert (found["image_id"], found["category_id"], found["iscrowd"]) == (5, 9, 0)
    assert annotations[0]["bbox"] == [70, 180, 301, 301]
    assert annotations[1]["score"] == pytest.approx(0.61)


def test_clicks_as_coco_have_the_masks_boxes() -> None:
    masks = np.concatenate([discs(), np.zeros((1, HEIGHT, WIDTH), np.bool_)])
    clicked = Clicked(known(masks), np.array([0.1, 0.9, 0.2], np.float32), np.zeros((3, 32, 32), np.float32), PHOTO)
    assert clicked.best == 1
    annotations = clicked.to_coco()
    assert len(annotations) == 2, "the third has no pixels"
    assert [each["bbox"] for each in annotations] == [rle.toBbox(each["segmentation"]).tolist() for each in annotations]


def test_boxes_in_coco_end_at_the_picture() -> None:
    found = result()
    boxes = np.array([[-20, 180, 600, 481], [700, 45, 900, 166]], np.float32)
    annotations = replace(found, boxes=boxes).to_coco()
    assert annotations[0]["bbox"] == [0, 180, 512, 301]
    assert annotations[1]["bbox"] == rle.toBbox(annotations[1]["segmentation"]).tolist(), "its box is not to be seen"


def test_masks_are_made_one_by_one() -> None:
    found = result()
    np.testing.assert_array_equal(found.mask(1), discs()[1])
    assert [rle.decode(each).sum() for each in found.rle] == discs().sum((1, 2)).tolist()
    for (piece,), mask in zip(found.polygons(0), discs(), strict=True):
        again = rle.decode(rle.frPyObjects([piece.outer.reshape(-1).tolist()], HEIGHT, WIDTH))[..., 0]
        np.testing.assert_array_equal(again, mask)
    assert "masks" not in vars(found)
    np.testing.assert_array_equal(found.masks, discs())
    one = found.take([1])
    assert (one.scores, one.queries.tolist(), one.names) == (found.scores[1:], [7], ["face"])


def test_objects_of_several_texts_have_their_names_and_categories(tmp_path: Path) -> None:
    found = replace(result(), texts=("face", "helmet", "flag"), asked=np.array([2, 0]))
    assert found.text is None
    assert found.names == ["flag", "face"]
    assert [each["category_id"] for each in found.to_coco(category_id=5)] == [7, 5]
    found.save(tmp_path / "a.png")
    drawn = np.asarray(Image.open(tmp_path / "a.png"))
    assert tuple(drawn[164, 222]) == draw.colour(0) != tuple(drawn[479, 220]) == draw.colour(2)
    # The legend: a plate of each text's colour at the left border, from the bottom.
    column = [tuple(value) for value in drawn[:, 0]]
    assert [column.count(draw.colour(index)) > 5 for index in range(4)] == [True, True, True, False]


def test_nothing_found_is_no_annotation_and_the_plain_picture(tmp_path: Path) -> None:
    assert nothing().to_coco() == []
    assert len(nothing()) == 0
    nothing().save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), PHOTO)


def test_an_overlay_tints_masks_and_leaves_the_rest() -> None:
    """Without labels and boxes, so that only masks are drawn."""
    masks = discs()
    painted = np.asarray(draw.overlay(PHOTO, known(masks), ["", ""]))
    plates = np.zeros((HEIGHT, WIDTH), np.bool_)
    for mask in masks:  # an empty label leaves a small plate above the mask
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        plates[max(rows[0] - 40, 0) : rows[0] + 1, columns[0] : columns[0] + 40] = True
    untouched = ~masks.any(0) & ~plates
    np.testing.assert_array_equal(painted[untouched], PHOTO[untouched])
    assert (painted[masks.any(0)] != PHOTO[masks.any(0)]).any(1).mean() > 0.99
    # Outlines are solid: the topmost pixel of each disc has its colour.
    for index, (x, y) in enumerate([(220, 479), (222, 164)]):
        assert tuple(painted[y, x]) == draw.colour(index)


def test_plates_do_not_lie_upon_each_other() -> None:
    """And two hundred labels of one place take no time to find theirs."""
    masks = known(np.ones((200, 60, 2000), np.bool_))
    labels = [f"{index}" for index in range(200)]
    boxes = np.array([[50 * (index % 40), 30, 50 * (index % 40) + 9, 40] for index in range(200)])
    drawn = np.asarray(draw.overlay(np.zeros((60, 2000, 3), np.uint8), masks, labels, boxes))
    assert drawn.any()


def test_colours_are_distinct() -> None:
    colours = np.array([draw.colour(index) for index in range(20)], float)
    distances = np.linalg.norm(colours[:, None] - colours, axis=2) + 1e9 * np.eye(20)
    assert distances.min() > 25
    assert all(np.linalg.norm(colours[i] - colours[i + 1]) > 120 for i in range(19))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (40, 30)])
def test_tiny_pictures_can_be_drawn_on(height: int, width: int) -> None:
    masks = known(np.ones((2, height, width), np.bool_))
    boxes = np.array([[-5, -5, 500, 500], [0, 0, 0, 0]], np.float32)
    image = draw.overlay(np.zeros((height, width, 3), np.uint8), masks, ["a long label " * 9, "ü"], boxes)
    assert image.size == (width, height)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".webp", ".bmp", ".tiff"])
def test_the_suffix_says_the_format(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"out{suffix}"
    file.write_text("an older one")
    result().save(str(file))
    image = Image.open(file)
    assert image.size == (WIDTH, HEIGHT)
    assert Image.registered_extensions()[suffix.lower()] == image.format
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["out", "out.txt", "out.psd", ".png/"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no suffix of a picture"):
        result().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        result().save(tmp_path / "absent" / "out.png")
    (tmp_path / "out.png").mkdir()
    with pytest.raises(UsageError, match="cannot be written: Is a directory"):
        result().save(tmp_path / "out.png")
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]
    wide = empty(np.zeros((1, 70000, 3), np.uint8))
    with pytest.raises(UsageError, match="cannot be written"):
        wide.save(tmp_path / "wide.jpg")
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.skipif(os.name != "posix", reason="this system limits no file's size")
def test_a_disk_that_is_full_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    import resource

    (tmp_path / "out.png").write_text("an older one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(UsageError, match="cannot be written: File too large"):
            result().save(tmp_path / "out.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_text() == "an older one"
