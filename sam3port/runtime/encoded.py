"""A picture that was encoded: what is asked of it, and the answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from sam3port.artifact.prompts import Clicks, Geometry, pad_clicks, pad_geometry
from sam3port.errors import UsageError
from sam3port.runtime import features, prompts
from sam3port.runtime.choose import apart, best, logit, part_of_one
from sam3port.runtime.engine import Handles
from sam3port.runtime.everything import Grid, everything
from sam3port.runtime.exemplar import Exemplar
from sam3port.runtime.holes import filled
from sam3port.runtime.masks.enlarge import Enlarged
from sam3port.runtime.masks.region import boxes_of
from sam3port.runtime.picture import Pixels
from sam3port.runtime.prompts import Labels
from sam3port.runtime.result import Clicked, Result

if TYPE_CHECKING:
    from sam3port.runtime.model import Model

VISUAL: Final = "visual"
"""Upstream's text where there is none (sam3_image_processor.py:141)."""


class EncodedImage:
    """A picture that the model has seen. Its features stay on the device as long as this object lives."""

    def __init__(self, model: Model, pixels: Pixels, handles: Handles) -> None:
        self._model = model
        self.pixels = pixels
        """(height, width, 3) RGB uint8, upright."""
        self.features = handles
        """Of what ``encode_image`` returned, what prompts are answered with: on the device, by name."""

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def arrays(self) -> dict[str, Any]:
        """Copies of the features in main memory, by name."""
        names = list(self.features)
        return dict(zip(names, self._model.engine.arrays(self.features, *names), strict=True))

    def save(self, file: str | os.PathLike[str], dtype: str = "float32", pixels: bool = True) -> None:
        """Writes the features, for `sam3port.runtime.model.Model.open_features` of the same artifact.

        Args:
            file: is replaced; safetensors.
            dtype: ``float16`` halves the file, and rounds.
            pixels: keeps the picture with them; without it has to be given again to be drawn on.

        Raises:
            UsageError: it cannot be written; the dtype is unknown or too small.
        """
        digest, kept = features.digest_of(self.pixels), self.pixels if pixels else None
        features.write(Path(file), self.arrays(), self._model.identity, digest, dtype, kept)

    def segment(
        self,
        text: str | Sequence[str] | None = None,
        boxes: ArrayLike | None = None,
        box_labels: Labels = None,
        points: ArrayLike | None = None,
        point_labels: Labels = None,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        max_objects: int | None = None,
        nms: float | None = None,
        like: Exemplar | None = None,
    ) -> Result:
        """Finds every object that fits, as upstream's `Sam3Processor` (sam3/model/sam3_image_processor.py).

        All coordinates are pixels of the picture as it is shown, after EXIF orientation.

        Args:
            text: what to look for, a noun phrase; without it boxes or points are examples of what is wanted. Or some of
                them, each asked by itself: the answers are those that each would get alone.
            boxes: (n, 4) x0, y0, x1, y1 of examples; they may reach beyond the picture.
            box_labels: (n,) true for what is wanted, false for what is not. All true unless given.
            points: (n, 2) x, y, of examples. Upstream's processor does not offer them, its model does.
            point_labels: (n,), like ``box_labels``.
            threshold: 0..1; objects with a score above it are kept.
            mask_threshold: between 0 and 1; the mask is the pixels that belong to the object with more probability.
            max_objects: at least 1; of those, only so many with the highest scores are kept, of all texts together.
            nms: 0..1; an object whose mask has a higher IoU (intersection over union) with that of a better object of
                the same text is left out. None leaves none out, as upstream.
            like: in place of boxes and points, what `exemplar` made of those of another picture.

        Raises:
            UsageError: no prompt; a box or point that is outside, inverted or no number; wrong labels; more than the
                build's capacity; a threshold outside 0..1; points, and the artifact's weights have none for them.
        """
        texts = _texts(text)
        least = np.float32(part_of_one(threshold, "the threshold"))
        level, overlap = logit(mask_threshold), None if nms is None else part_of_one(nms, "nms")
        if max_objects is not None and (isinstance(max_objects, bool) or not int(max_objects) == max_objects >= 1):
            raise UsageError(f"max_objects is {max_objects!r}", "give a whole number, at least 1")
        given = prompts.geometry(self.width, self.height, points, point_labels, boxes, box_labels)
        if like is not None:
            like.check(self._model)
            if len(given.boxes) or len(given.points):
                raise UsageError("examples are in this picture or in another one", "give boxes and points, or like")
        elif not texts and not len(given.boxes) and not len(given.points):
            raise UsageError("there is no prompt", "give a text, boxes or points")
        if len(given.points):
            self._model.manifest.require("points", "points as examples")
        scores, corners, logits = self._ask(texts or (VISUAL,), like or given, "scores", "pred_boxes", "pred_masks")
        above = scores > least
        asked, queries = np.nonzero(above)
        missed = scores[~above]
        logits = logits[above]
        found = Result(
            regions=Enlarged(logits, self.height, self.width, level),
            boxes=self._corners(corners[above]),
            scores=scores[above],
            queries=queries,
            texts=texts,
            pixels=self.pixels,
            asked=asked,
            best_below=float(missed.max()) if len(missed) else None,
        )
        if overlap is not None:
            chosen = apart(logits, found.scores, asked, overlap)
            found = found.take(chosen)
        return found if max_objects is None else found.take(best(found.scores, max_objects))

    def exemplar(
        self,
        boxes: ArrayLike | None = None,
        box_labels: Labels = None,
        points: ArrayLike | None = None,
        point_labels: Labels = None,
    ) -> Exemplar:
        """What is shown here, to be found in other pictures: ``other.segment(like=this.exemplar(boxes=[...]))``.

        Args:
            boxes: as of `segment`, as are the others.

        Raises:
            UsageError: there is neither a box nor a point; otherwise as `segment`; or the artifact was built before
                there were exemplars.
        """
        model, capacity = self._model, self._model.manifest.capacity
        given = prompts.geometry(self.width, self.height, points, point_labels, boxes, box_labels)
        if not len(given.boxes) and not len(given.points):
            raise UsageError("there is nothing to show", "give boxes or points")
        if len(given.points):
            model.manifest.require("points", "points as examples")
        model.manifest.require_later("exemplar", "examples of other pictures")
        # The same for every text that is asked at once.
        return Exemplar(
            model, model.engine.call("exemplar", {**self.features, **self._padded(given, capacity.prompts)})
        )

    def _padded(self, given: Geometry, count: int) -> dict[str, Any]:
        return dict(pad_geometry([given] * count, self._model.manifest.capacity))

    def _ask(self, texts: Sequence[str], given: Geometry | Exemplar, *names: str) -> list[Any]:
        """Outputs of ``ground`` for each text, one after the other: as many at once as the build takes."""
        model, capacity = self._model, self._model.manifest.capacity
        answers = []
        for start in range(0, len(texts), capacity.prompts):
            some = texts[start : start + capacity.prompts]
            entry = "ground_like" if isinstance(given, Exemplar) else "ground"
            shown = given.tokens if isinstance(given, Exemplar) else self._padded(given, len(some))
            asked = {**self.features, **model.encode_texts(some), **shown}
            arrays = model.engine.arrays(model.engine.call(entry, asked), *names)
            answers.append([array[: len(some)] for array in arrays])
        return [np.concatenate(each) for each in zip(*answers, strict=True)]

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
            mask: (mask_size, mask_size) one of the ``logits`` of an earlier click, or of a `Result`: so an object that
                was found is added to, or taken from, by points.
            multimask: three masks of an ambiguous click; false gives one, right for several clicks.

        Raises:
            UsageError: as `segment`; or the mask has another size; or the artifact's weights cannot answer clicks.
        """
        given = prompts.clicks(self.width, self.height, points, point_labels, box, mask, self._side)
        (masks,), (scores,) = self._click([given], multimask)
        return Clicked(
            regions=Enlarged(filled(masks), self.height, self.width),
            scores=scores,
            logits=np.clip(masks, -prompts.LOGIT_LIMIT, prompts.LOGIT_LIMIT),
            pixels=self.pixels,
        )

    def segment_boxes(self, boxes: ArrayLike) -> Result:
        """One mask for each box: the object that it surrounds, whatever it is, as `click` with that box finds it.

        Args:
            boxes: (n, 4) x0, y0, x1, y1.

        Raises:
            UsageError: there are none; one is outside, inverted or no number; or the artifact's weights cannot answer
                clicks.
        """
        corners = prompts.corners(boxes, self.width, self.height)
        if not len(corners):
            raise UsageError("there are no boxes", "give [(x0, y0, x1, y1), ...]")
        size = (self.width, self.height)
        given = [prompts.clicks(*size, None, None, each, None, self._side) for each in corners]
        masks, scores = self._click(given, multimask=False)
        number = np.arange(len(corners))
        return Result(
            regions=Enlarged(filled(masks[:, 0]), self.height, self.width),
            boxes=corners.astype(np.float32),
            scores=scores[:, 0],
            queries=number,
            texts=(),
            pixels=self.pixels,
            asked=np.zeros_like(number),
        )

    def everything(self, grid: Grid | None = None) -> Result:
        """Every object, without being told what to look for: as SAM's automatic mask generator, by a grid of clicks.

        Args:
            grid: its parameters; those of SAM unless given.

        Raises:
            UsageError: a parameter is out of its range, or the artifact's weights cannot answer clicks.
        """
        grid = grid or Grid()
        grid.check()

        def click(points: Sequence[tuple[float, float]]) -> tuple[Any, Any]:
            place = np.array(points, np.float32) * self._side
            wanted = np.ones(1, np.int64)
            return self._click([Clicks(points=each[None], labels=wanted) for each in place], multimask=True)

        at_once = self._model.manifest.capacity.prompts
        logits, scores = everything(click, grid, self.height, self.width, at_once)
        number = np.arange(len(scores))
        regions = Enlarged(logits, self.height, self.width)
        return Result(
            regions=regions,
            boxes=boxes_of(regions),
            scores=scores,
            queries=number,
            texts=(),
            pixels=self.pixels,
            asked=np.zeros_like(number),
        )

    def semantic(self, text: str | Sequence[str], mask_threshold: float = 0.5) -> Result:
        """One mask for each text: all pixels of its kind, not told apart by object.

        Args:
            text: a noun phrase, or some.
            mask_threshold: as of `segment`.

        Returns:
            an entry for each text; its score is how sure the model is that there is any.

        Raises:
            UsageError: there is no text; the threshold is outside 0..1.
        """
        texts, level = _texts(text), logit(mask_threshold)
        if not texts:
            raise UsageError("there is no prompt", "give a text")
        logits, presence = self._ask(texts, Geometry(), "semantic_seg", "presence_logit")
        regions = Enlarged(logits[:, 0], self.height, self.width, level)
        number = np.arange(len(texts))
        return Result(
            regions=regions,
            boxes=boxes_of(regions),
            scores=1 / (1 + np.exp(-presence[:, 0])),
            queries=number,
            texts=texts,
            pixels=self.pixels,
            asked=number,
        )

    @property
    def _side(self) -> int:
        """Of the model's square picture, pixels: what clicks are measured in."""
        return self._model.manifest.sizes.image_size

    def _click(self, given: Sequence[Clicks], multimask: bool) -> tuple[Any, Any]:
        """Mask logits (n, masks, h, w) and scores (n, masks): as many at once as the build takes."""
        manifest, engine = self._model.manifest, self._model.engine
        manifest.require("clicks", "clicks")
        names = ("masks", "iou_scores") if multimask else ("single_mask", "single_iou_score")
        answers = []
        for start in range(0, len(given), manifest.capacity.prompts):
            some = given[start : start + manifest.capacity.prompts]
            arrays: dict[str, Any] = dict(pad_clicks(some, manifest.capacity, manifest.sizes))
            found = engine.call("click", {**self.features, **arrays})
            answers.append([array[: len(some)] for array in engine.arrays(found, *names)])
        masks, scores = (np.concatenate(each) for each in zip(*answers, strict=True))
        return masks, scores

    def _corners(self, boxes: Any) -> Any:
        """x0, y0, x1, y1 in pixels from cxcywh, 0..1."""
        centre, half = boxes[:, :2], np.float32(0.5) * boxes[:, 2:]
        size = np.array([self.width, self.height], np.float32)
        return np.concatenate([(centre - half) * size, (centre + half) * size], 1)


def _texts(text: str | Sequence[str] | None) -> tuple[str, ...]:
    if text is None:
        return ()
    # Whatever is no list is one text, or wrong, which the model says.
    texts = tuple(text) if isinstance(text, (list, tuple)) else (text,)
    if not texts:
        raise UsageError("the list of texts is empty", "name what to look for, or leave the texts out")
    return texts
