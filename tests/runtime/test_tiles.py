"""Large pictures in tiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import skimage.data

from sam3port.errors import UsageError
from sam3port.runtime.masks.region import trimmed
from sam3port.runtime.model import Model
from sam3port.runtime.tiles import Piece, Tile, merged, tiles


@pytest.mark.parametrize(
    ("height", "width", "side", "overlap"), [(1, 1, 16, 4), (100, 37, 40, 10), (40, 41, 40, 0), (99, 250, 32, 31)]
)
def test_tiles_cover_the_picture_and_overlap(height: int, width: int, side: int, overlap: int) -> None:
    covered = np.zeros((height, width), int)
    every = list(tiles(height, width, side, overlap))
    for tile in every:
        assert (tile.right - tile.left, tile.bottom - tile.top) == (min(side, width), min(side, height))
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert covered.min() >= 1
    lefts = sorted({tile.left for tile in every})
    assert all(following - left <= side - overlap for left, following in pairwise(lefts))
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(("side", "overlap"), [(16, 16), (16, -1), (0, 0)])
def test_overlaps_that_leave_nothing(side: int, overlap: int) -> None:
    with pytest.raises(UsageError, match="cannot overlap"):
        list(tiles(10, 10, side, overlap))


def cut(mask: np.ndarray, tile: Tile, score: float = 0.5, asked: int = 0) -> Piece:
    """What a perfect model finds of a mask in a tile."""
    part = mask[tile.top : tile.bottom, tile.left : tile.right]
    region = trimmed(part, tile.left, tile.top)
    box = np.array([region.left, region.top, region.right, region.bottom], np.float32)
    return Piece(tile, region, box, score, 3, asked)


def test_objects_go_on_across_seams() -> None:
    y, x = np.mgrid[:100, :200]
    wide = np.hypot(x - 100, (y - 50) * 3) < 95  # in every tile
    small = np.hypot(x - 20, y - 85) < 6  # in one
    grid = list(tiles(100, 200, 60, 20))
    pieces = [
        cut(mask, tile, 0.5 + 0.01 * number)
        for mask in (wide, small)
        for number, tile in enumerate(grid)
        if mask[tile.top : tile.bottom, tile.left : tile.right].any()
    ]
    found = merged(pieces)
    assert len(pieces) > 6
    assert len(found) == 2
    for piece, mask in zip(found, (wide, small), strict=True):
        np.testing.assert_array_equal(piece.region.mask(100, 200), mask)
    rows, columns = np.nonzero(wide)
    assert found[0].box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found[0].score == max(piece.score for piece in pieces[: len(grid)])


def test_what_is_not_the_same_stays_apart() -> None:
    y, x = np.mgrid[:60, :100]
    one, other = np.hypot(x - 48, y - 30) < 12, np.hypot(x - 60, y - 30) < 12
    left, right = Tile(0, 0, 60, 60), Tile(40, 0, 100, 60)
    assert len(merged([cut(one, left), cut(other, right)])) == 2, "they only touch"
    assert len(merged([cut(one, left), cut(one, right, asked=1)])) == 2, "another text"
    assert len(merged([cut(one, left), cut(one, left)])) == 2, "of one tile: the model tells them apart"
    assert len(merged([cut(one, left), cut(one, right)])) == 1


def test_a_photograph_in_tiles(model: Model) -> None:
    photo = skimage.data.coffee()  # 400 x 600
    found = model.segment_large(photo, ["cup", "table"], tile=300, overlap=60, threshold=0.3)
    assert found.pixels.shape == photo.shape
    assert found.texts == ("cup", "table")
    assert set(found.asked) == {0, 1}
    assert found.masks.any((1, 2)).all()
    assert (found.boxes[:, 2] > 300).any() and (found.boxes[:, 3] > 300).any(), "not of the first tile only"
    assert found.best_below is not None and found.best_below <= 0.3
    assert len(found.to_coco()) == len(found)
    with pytest.raises(UsageError, match="have no logits"):
        _ = found.logits
    few = model.segment_large(photo, "cup", tile=300, overlap=60, threshold=0.3, max_objects=3)
    assert len(few) == 3


def test_one_tile_is_the_picture(model: Model) -> None:
    photo = skimage.data.chelsea()
    tiled = model.segment_large(photo, "cat", threshold=0.3)
    whole = model.encode_image(photo).segment("cat", threshold=0.3)
    np.testing.assert_array_equal(tiled.masks, whole.masks)
    np.testing.assert_array_equal(tiled.boxes, whole.boxes)
    np.testing.assert_array_equal(tiled.scores, whole.scores)
