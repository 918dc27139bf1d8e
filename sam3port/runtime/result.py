"""What was found in a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3port.runtime import draw
from sam3port.runtime.picture import Pixels


@dataclass(frozen=True, eq=False)
class Result:
    """The objects that fit a prompt, in the order of the model's queries (not of their scores), as upstream's."""

    masks: NDArray[np.bool_]
    """(n, height, width), of the picture's own size."""
    boxes: NDArray[np.float32]
    """(n, 4): x0, y0, x1, y1, pixels of the picture; they may reach beyond it."""
    scores: NDArray[np.float32]
    """(n,): above the threshold, up to 1."""
    queries: NDArray[np.int64]
    """(n,): which of the model's queries found each, ascending."""
    text: str | None
    """What was asked for, None if only boxes or points were given."""
    pixels: Pixels = field(repr=False)
    """(height, width, 3) RGB uint8: the picture."""

    def __len__(self) -> int:
        return len(self.scores)

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations, one for each object, that ``json`` can write.

        Masks are compressed run lengths, ``bbox`` is x, y, width, height, ``area`` the mask's pixels; ``score`` is
        beside them, as in COCO's results. ``id`` counts from 1.
        """
        boxes = np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], 1)
        return coco_annotations(self.masks, boxes, self.scores, image_id, category_id)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the picture with the objects' masks, outlines, boxes and scores; see `sam3port.runtime.draw.save`."""
        labels = [f"{self.text or 'object'} {score:.2f}" for score in self.scores]
        draw.save(file, draw.overlay(self.pixels, self.masks, labels, self.boxes))


@dataclass(frozen=True, eq=False)
class Clicked:
    """The masks of one object that was clicked on."""

    masks: NDArray[np.bool_]
    """(c, height, width): three with ``multimask``, from part to whole; else one. Small holes are filled, as upstream
    does it."""
    scores: NDArray[np.float32]
    """(c,): how good the model thinks each is, about 0..1."""
    logits: NDArray[np.float32]
    """(c, mask_size, mask_size), -32..32, holes not filled: one of them may be the mask of the next click."""
    pixels: Pixels = field(repr=False)
    """(height, width, 3) RGB uint8: the picture."""

    @property
    def best(self) -> int:
        """The index of the mask with the highest score."""
        return int(np.argmax(self.scores))

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """As `Result.to_coco`, with the boxes of the masks."""
        boxes = np.array([_box(mask) for mask in self.masks], np.float32).reshape(-1, 4)
        return coco_annotations(self.masks, boxes, self.scores, image_id, category_id)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the picture with the best mask; see `sam3port.runtime.draw.save`."""
        label = f"click {self.scores[self.best]:.2f}"
        draw.save(file, draw.overlay(self.pixels, self.masks[[self.best]], [label]))


def coco_annotations(
    masks: NDArray[np.bool_],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    image_id: int,
    category_id: int,
) -> list[dict[str, Any]]:
    """COCO's form of masks.

    Args:
        masks: (n, height, width).
        boxes: (n, 4) x, y, width, height.
        scores: (n,).
        image_id: COCO's id of the picture.
        category_id: COCO's id of what they are.
    """
    from pycocotools import mask as rle

    found = []
    for index, (mask, box, score) in enumerate(zip(masks, boxes, scores, strict=True), 1):
        encoded = rle.encode(np.asfortranarray(mask, np.uint8))
        found.append(
            {
                "id": index,
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": {"size": [int(side) for side in mask.shape], "counts": encoded["counts"].decode()},
                "area": int(mask.sum()),
                "bbox": [float(value) for value in box],
                "iscrowd": 0,
                "score": float(score),
            }
        )
    return found


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x, y, width, height of what is true; zeros if nothing is."""
    left, top, right, bottom = draw.extent(mask) or (0, 0, 0, 0)
    return left, top, right - left, bottom - top
