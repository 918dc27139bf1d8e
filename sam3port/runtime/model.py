"""SAM 3 from an artifact: a picture is encoded once, then answers any number of prompts."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import ArrayLike

from sam3port.components.data.prompts import pad_clicks, pad_geometry, pad_tokens
from sam3port.errors import UsageError
from sam3port.runtime import picture as pictures
from sam3port.runtime import prompts
from sam3port.runtime.artifact import open_artifact
from sam3port.runtime.engine import Engine, Handles
from sam3port.runtime.holes import filled
from sam3port.runtime.manifest import Manifest
from sam3port.runtime.picture import Picture, Pixels
from sam3port.runtime.prompts import Labels
from sam3port.runtime.resize import upsampled_masks
from sam3port.runtime.result import Clicked, Result
from sam3port.runtime.tokens import Tokenizer

VISUAL: Final = "visual"
"""Upstream's text where there is none (sam3_image_processor.py:141)."""
REMEMBERED_TEXTS: Final = 256
"""How many texts' features are kept, those used last; each takes 33 kB in the full model."""


def load(folder: str | os.PathLike[str], threads: int | None = None, check: bool = False) -> Model:
    """Opens an artifact that ``sam3port build`` made. Needs neither torch nor upstream.

    The first time, every file is read to prove its hash (seconds for gigabytes); weights are then mapped, and memory is
    used as they are.

    Args:
        folder: the artifact.
        threads: of the CPU; all that this process may use, or ``TVM_NUM_THREADS``, unless given.
        check: proves every file's hash again.

    Raises:
        UsageError: the artifact is missing, damaged, made by a newer sam3port or for another machine, or its device is
            absent.
    """
    artifact = open_artifact(Path(folder).expanduser(), check)
    return Model(artifact.manifest, Tokenizer(artifact.tokenizer), Engine(artifact, threads))


class Model:
    """An opened artifact. Safe to use from several threads; what they ask for is computed one after the other."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer, engine: Engine) -> None:
        self.manifest = manifest
        """What the artifact is: sizes, capacity, target, versions."""
        self.tokenizer = tokenizer
        self.engine = engine
        self._text = functools.lru_cache(REMEMBERED_TEXTS)(self._encode_text)

    @overload
    def encode_image(self, picture: Picture) -> EncodedImage: ...  # type: ignore[overload-overlap]  # str: a Sequence, too
    @overload
    def encode_image(self, picture: Sequence[Picture]) -> list[EncodedImage]: ...
    def encode_image(self, picture: Picture | Sequence[Picture]) -> EncodedImage | list[EncodedImage]:
        """Encodes one picture, or some, one after the other.

        Args:
            picture: a file, an image of Pillow or an array; see `sam3port.runtime.picture.read`. Or a list of these:
                all are read before the first is encoded.

        Raises:
            UsageError: it cannot be read.
        """
        if isinstance(picture, (list, tuple)):
            return [self._encode(pixels) for pixels in [pictures.read(each) for each in picture]]
        return self._encode(pictures.read(picture))  # type: ignore[arg-type]

    def encode_text(self, text: str) -> Handles:
        """``text_features`` and ``text_mask`` of a text, on the device. Remembered for the next time.

        Warns:
            UserWarning: the text is longer than the model's context, and its end is cut off, as upstream does it.

        Raises:
            UsageError: there is nothing in it.
        """
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"the text is {text!r}", "name what to look for, or leave the text out")
        length = self.manifest.sizes.text_context
        if not self.tokenizer.fits(text, length):
            warnings.warn(
                f"the text is longer than {length - 2} tokens, its end is cut off: {text[:40]!r}...", stacklevel=2
            )
        return self._text(self.tokenizer.encode(text, length).tobytes())

    def _encode_text(self, tokens: bytes) -> Handles:
        one = np.frombuffer(tokens, np.int64)[None]
        return self.engine.call("encode_text", {"tokens": pad_tokens(one, self.manifest.capacity)})

    def _encode(self, pixels: Pixels) -> EncodedImage:
        image = pictures.model_input(pixels, self.manifest.sizes.image_size)
        return EncodedImage(self, pixels, self.engine.call("encode_image", {"image": image}))


class EncodedImage:
    """A picture that the model has seen. Its features stay on the device as long as this object lives."""

    def __init__(self, model: Model, pixels: Pixels, features: Handles) -> None:
        self._model = model
        self.pixels = pixels
        """(height, width, 3) RGB uint8, upright."""
        self.features = features
        """What ``encode_image`` returned, on the device, by name."""

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
        if isinstance(threshold, bool) or not 0 <= threshold <= 1:
            raise UsageError(f"the threshold is {threshold}", "give a number from 0 to 1")
        given = prompts.geometry(self.width, self.height, points, point_labels, boxes, box_labels)
        if text is None and not len(given.boxes) and not len(given.points):
            raise UsageError("there is no prompt", "give a text, boxes or points")
        arrays = pad_geometry([given], capacity)
        about_text = model.encode_text(VISUAL if text is None else text)
        found = model.engine.call("ground", {**self.features, **about_text, **arrays})
        scores, boxes_found, masks = model.engine.arrays(found, "scores", "pred_boxes", "pred_masks")
        kept = scores[0] > np.float32(threshold)
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
