"""A picture that was encoded: what is asked of it, and the answers."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from sam3port.components.data.prompts import pad_clicks, pad_geometry
from sam3port.errors import UsageError
from sam3port.runtime import prompts
from sam3port.runtime.engine import Handles
from sam3port.runtime.holes import filled
from sam3port.runtime.picture import Pixels
from sam3port.runtime.prompts import Labels
from sam3port.runtime.resize import upsampled_masks
from sam3port.runtime.result import Clicked, Result

if TYPE_CHECKING:
    from sam3port.runtime.model import Model

VISUAL: Final = "visual"
"""Upstream's text where there is none (sam3_image_processor.py:141)."""


class EncodedImage:
    """A picture that the model has seen. Its features stay on the device as long as this object lives."""

    def __init__(self, model: Model, pixels: Pixels, features: Handles) -> None:
        self._model = model
        self.pixels = pixels
        """(height, width, 3) RGB uint8, upright."""
        self.features = features
        """Of what ``encode_image`` returned, what prompts are answered with: on the device, by name."""

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def segment(
        self,
        text: str | None = None,
        boxes: ArrayLike | None = None,
        box_labels: Labels = None,
        points: ArrayLike | None = None,
        point_labels: Labels = None,
        threshold: float = 0.5,
    ) -> Result:
        """Finds every object that fits, as upstream's `Sam3Processor` (sam3/model/sam3_image_processor.py).

        All coordinates are pixels of the picture as it is shown, after EXIF orientation.

        Args:
            text: what to look for, a noun phrase; without it boxes or points are examples of what is wanted.
            boxes: (n, 4) x0, y0, x1, y1 of examples; they may reach beyond the picture.
            box_labels: (n,) true for what is wanted, false for what is not. All true unless given.
            points: (n, 2) x, y, of examples. Upstream's processor does not offer them, its model does.
            point_labels: (n,), like ``box_labels``.
            threshold: 0..1; objects with a score above it are kept.

        Raises:
            UsageError: no prompt; a box or point that is outside, inverted or no number; wrong labels; more than the
                build's capacity; a threshold outside 0..1.
        """
        model, capacity = self._model, self._model.manifest.capacity
        least = _part_of_one(threshold)
        given = prompts.geometry(self.width, self.height, points, point_labels, boxes, box_labels)
        if text is None and not len(given.boxes) and not len(given.points):
            raise UsageError("there is no prompt", "give a text, boxes or points")
        arrays = pad_geometry([given], capacity)
        about_text = model.encode_text(VISUAL if text is None else text)
        found = model.engine.call("ground", {**self.features, **about_text, **arrays})
        scores, boxes_found, masks = model.engine.arrays(found, "scores", "pred_boxes", "pred_masks")
        kept = scores[0] > least
        return Result(
            masks=upsampled_masks(masks[0][kept], self.height, self.width),
            boxes=self._corners(boxes_found[0][kept]),
            scores=scores[0][kept],
            queries=np.flatnonzero(kept),
            text=text,
            pixels=self.pixels,
        )

    def click(
        self,
        points: ArrayLike | None = None,
        point_labels: Labels = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        multimask: bool = True,
    ) -> Clicked:
        """The object under clicks, as upstream's `SAM3InteractiveImagePredictor` (sam3/model/sam1_task_predictor.py).

        Args:
            points: (n, 2) x, y.
            point_labels: (n,) true for the object, false for what does not belong to it. All true unless given.
            box: (4,) x0, y0, x1, y1 around the object.
            mask: (mask_size, mask_size) one of the ``logits`` of an earlier click.
            multimask: three masks of an ambiguous click; false gives one, right for several clicks.

        Raises:
            UsageError: as `segment`; or the mask has another size.
        """
        manifest, engine = self._model.manifest, self._model.engine
        given = prompts.clicks(self.width, self.height, points, point_labels, box, mask, manifest.sizes.image_size)
        arrays: dict[str, Any] = dict(pad_clicks([given], manifest.capacity, manifest.sizes))
        found = engine.call("click", {**self.features, **arrays})
        names = ("masks", "iou_scores") if multimask else ("single_mask", "single_iou_score")
        masks, scores = (array[0] for array in engine.arrays(found, *names))
        return Clicked(
            masks=upsampled_masks(filled(masks), self.height, self.width),
            scores=scores,
            logits=np.clip(masks, -prompts.LOGIT_LIMIT, prompts.LOGIT_LIMIT),
            pixels=self.pixels,
        )

    def _corners(self, boxes: Any) -> Any:
        """x0, y0, x1, y1 in pixels from cxcywh, 0..1."""
        centre, half = boxes[:, :2], np.float32(0.5) * boxes[:, 2:]
        size = np.array([self.width, self.height], np.float32)
        return np.concatenate([(centre - half) * size, (centre + half) * size], 1)


def _part_of_one(threshold: Any) -> np.float32:
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= float(threshold) <= 1:
        raise UsageError(f"the threshold is {threshold!r}", "give a number from 0 to 1")
    return np.float32(threshold)
