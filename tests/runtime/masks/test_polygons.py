"""Polygons, drawn again by others, are the mask."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from sam3port.runtime.masks.polygons import Polygon, polygons
from sam3port.runtime.masks.region import trimmed


def area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def drawn(pieces: list[Polygon], shape: tuple[int, int]) -> np.ndarray:
    """By scikit-image, at the centres of pixels."""
    mask = np.zeros(shape, np.bool_)
    for piece in pieces:
        inside = polygon2mask(shape, piece.outer[:, ::-1] - 0.5)
        for hole in piece.holes:
            inside &= ~polygon2mask(shape, hole[:, ::-1] - 0.5)
        mask |= inside
    return mask


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.1, 0.9))
def test_any_mask_is_drawn_again(seed: int, height: int, width: int, share: float) -> None:
    """Noise: pixels that touch at corners, holes in holes, single pixels."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    pieces = polygons(trimmed(mask), 0)
    np.testing.assert_array_equal(drawn(pieces, mask.shape), mask)
    assert all(area(piece.outer) > 0 for piece in pieces)
    assert all(area(hole) < 0 for piece in pieces for hole in piece.holes)
    total = sum(area(ring) for piece in pieces for ring in (piece.outer, *piece.holes))
    assert total == mask.sum()
    if mask.any():
        rings = [piece.joined().reshape(-1).tolist() for piece in pieces]
        found = coco.decode(coco.merge(coco.frPyObjects(rings, height, width)))
        np.testing.assert_array_equal(found, mask)


def test_holes_belong_to_the_piece_around_them() -> None:
    mask = np.zeros((9, 20), np.bool_)
    mask[1:8, 1:9] = True
    mask[2:7, 2:8] = False
    mask[3:6, 3:7] = True  # a piece within the hole
    mask[4, 4] = mask[4, 5] = False
    mask[0:9, 12:19] = True
    mask[2, 13] = mask[2, 15] = mask[5, 16] = False
    pieces = polygons(trimmed(mask), 0)
    assert [len(piece.holes) for piece in pieces] == [3, 1, 1]
    assert pieces[0].outer[0].tolist() == [12, 0]


def test_a_tolerance_leaves_corners_out_and_little_else() -> None:
    horse = ~skimage.data.horse()
    exact, simpler = (polygons(trimmed(horse), tolerance) for tolerance in (0, 1))
    corners = [sum(len(piece.outer) for piece in each) for each in (exact, simpler)]
    assert corners[1] < corners[0] / 4
    found = drawn(simpler, horse.shape)
    assert (found & horse).sum() / (found | horse).sum() > 0.98


@pytest.mark.parametrize("tolerance", [0, 1, 100])
def test_what_is_small_is_kept(tolerance: float) -> None:
    mask = np.zeros((5, 5), np.bool_)
    assert polygons(trimmed(mask), tolerance) == []
    mask[3, 2] = True
    (piece,) = polygons(trimmed(mask), tolerance)
    assert sorted(map(tuple, piece.outer.tolist())) == [(2, 3), (2, 4), (3, 3), (3, 4)]
