"""What was found in a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sam3port.errors import UsageError
from sam3port.runtime import draw
from sam3port.runtime.masks import rle
from sam3port.runtime.masks.enlarge import Enlarged
from sam3port.runtime.masks.polygons import Polygon, polygons
from sam3port.runtime.masks.region import Mask, Masks, Region, stacked
from sam3port.runtime.masks.rle import Rle
from sam3port.runtime.picture import Pixels


@dataclass(frozen=True, eq=False)
class Result:
    """The objects that fit a prompt, in the order of the model's queries (not of their scores), as upstream's; those
    of several texts one text after the other."""

    regions: Masks = field(repr=False)
    """n masks of the picture's size, each made when it is asked for."""
    boxes: NDArray[np.float32]
    """(n, 4): x0, y0, x1, y1, pixels of the picture; they may reach beyond it."""
    scores: NDArray[np.float32]
    """(n,): above the threshold, up to 1."""
    queries: NDArray[np.int64]
    """(n,): which of the model's queries found each, ascending for each text."""
    texts: tuple[str, ...]
    """What was asked for; none if only boxes or points were given."""
    pixels: Pixels = field(repr=False)
    """(height, width, 3) RGB uint8: the picture."""
    asked: NDArray[np.int64]
    """(n,): the index in ``texts`` of what each was found for; 0 without texts."""
    best_below: float | None = None
    """The best score that is not above the threshold; None if everything is kept."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def text(self) -> str | None:
        """What was asked for, if it was one text."""
        return self.texts[0] if len(self.texts) == 1 else None

    @property
    def names(self) -> list[str]:
        """n: what each was found for, ``object`` without texts."""
        return [self.texts[index] for index in self.asked] if self.texts else ["object"] * len(self)

    @property
    def logits(self) -> NDArray[np.float32]:
        """(n, mask_size, mask_size): what the masks are made of; one may be the ``mask`` of `EncodedImage.click`.

        Raises:
            UsageError: the masks were put together of several tiles.
        """
        if not isinstance(self.regions, Enlarged):
            raise UsageError("masks of several tiles have no logits", "segment the picture as a whole")
        return self.regions.logits

    @cached_property
    def masks(self) -> Mask:
        """(n, height, width) bool: all of them at once, made when first asked for, then kept. `mask` makes one."""
        return stacked(self.regions)

    @cached_property
    def rle(self) -> list[Rle]:
        """n masks as COCO's compressed run lengths, made one after the other when first asked for, then kept."""
        return _rle(self.regions)

    def mask(self, index: int) -> Mask:
        """(height, width) bool: one object's mask, made each time."""
        return self.regions[index].mask(*self.pixels.shape[:2])

    def polygons(self, tolerance: float = 1.0) -> list[list[Polygon]]:
        """The outlines of each object's pieces; see `sam3port.runtime.masks.polygons.polygons`."""
        return [polygons(self.regions[index], tolerance) for index in range(len(self))]

    def take(self, indices: ArrayLike) -> Result:
        """Those objects, in that order."""
        chosen = np.asarray(indices, np.int64).reshape(-1)
        kept = {name: getattr(self, name)[chosen] for name in ("boxes", "scores", "queries", "asked")}
        return replace(self, regions=self.regions.take(chosen.tolist()), **kept)

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations, one for each object that has pixels, that ``json`` can write.

        Masks are compressed run lengths, ``bbox`` is x, y, width, height within the picture, ``area`` the mask's
        pixels; ``score`` is beside them, as in COCO's results. ``id`` counts from 1.

        Args:
            image_id: COCO's id of the picture.
            category_id: of the first text; those of the other texts follow.
        """
        return coco_annotations(self.regions, self.boxes, self.scores, image_id, category_id + self.asked)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the picture with the objects' masks, outlines, boxes and scores; see `sam3port.runtime.draw.save`."""
        draw.save(file, self.overlay())

    def overlay(self, areas: Sequence[int] | None = None) -> Image.Image:
        """The picture with the objects' masks, outlines, boxes and scores, an image of Pillow.

        Args:
            areas: the masks' pixels where they are known already, which saves time.
        """
        labels = [f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True)]
        groups, legend = (self.asked.tolist(), self.texts) if len(self.texts) > 1 else (None, ())
        return draw.overlay(self.pixels, self.regions, labels, self.boxes, areas, groups, legend)


@dataclass(frozen=True, eq=False)
class Clicked:
    """The masks of one object that was clicked on."""

    regions: Masks = field(repr=False)
    """c masks of the picture's size, each made when it is asked for: three with ``multimask``, from part to whole; else
    one. Small holes are filled, as upstream does it."""
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

    @cached_property
    def masks(self) -> Mask:
        """(c, height, width) bool: all of them at once, made when first asked for, then kept."""
        return stacked(self.regions)

    @cached_property
    def rle(self) -> list[Rle]:
        """c masks as COCO's compressed run lengths."""
        return _rle(self.regions)

    def polygons(self, tolerance: float = 1.0) -> list[list[Polygon]]:
        """As `Result.polygons`."""
        return [polygons(self.regions[index], tolerance) for index in range(len(self.scores))]

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """As `Result.to_coco`, with the boxes of the masks."""
        return coco_annotations(self.regions, None, self.scores, image_id, category_id)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the picture with the best mask; see `sam3port.runtime.draw.save`."""
        draw.save(file, self.overlay())

    def overlay(self) -> Image.Image:
        """The picture with the best mask, an image of Pillow."""
        label = f"click {self.scores[self.best]:.2f}"
        return draw.overlay(self.pixels, self.regions.take([self.best]), [label])


def coco_annotations(
    masks: Masks,
    boxes: NDArray[np.float32] | None,
    scores: NDArray[np.float32],
    image_id: int,
    category_ids: int | NDArray[np.int64],
) -> list[dict[str, Any]]:
    """COCO's form of masks; none for a mask without pixels.

    Args:
        masks: n of them.
        boxes: (n, 4) x0, y0, x1, y1; the part within the picture counts. Without them, those of the masks.
        scores: (n,).
        image_id: COCO's id of the picture.
        category_ids: COCO's ids of what they are, n or one for all.
    """
    categories = np.broadcast_to(np.asarray(category_ids), len(scores))
    found: list[dict[str, Any]] = []
    for index in range(len(scores)):
        if not (region := masks[index]):
            continue
        box = None if boxes is None else boxes[index]
        found.append(
            {
                "id": len(found) + 1,
                "image_id": image_id,
                "category_id": int(categories[index]),
                "segmentation": rle.encode(region, masks.height, masks.width),
                "area": region.area,
                "bbox": coco_box(region, box, masks.height, masks.width),
                "iscrowd": 0,
                "score": float(scores[index]),
            }
        )
    return found


def coco_box(region: Region, box: NDArray[np.float32] | None, height: int, width: int) -> list[float]:
    """x, y, width, height within the picture: of the box, or of the mask where there is no box that can be seen."""
    corners = (region.left, region.top, region.right, region.bottom)
    if box is not None:
        x0, x1 = (float(np.clip(value, 0, width)) for value in box[0::2])
        y0, y1 = (float(np.clip(value, 0, height)) for value in box[1::2])
        if x0 < x1 and y0 < y1:
            return [x0, y0, x1 - x0, y1 - y0]
    left, top, right, bottom = map(float, corners)
    return [left, top, right - left, bottom - top]


def _rle(masks: Masks) -> list[Rle]:
    return [rle.encode(masks[index], masks.height, masks.width) for index in range(len(masks))]
