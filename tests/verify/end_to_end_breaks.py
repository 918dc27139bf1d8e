"""The runtime, broken in one thing at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sam3port.runtime import encoded, picture, resize, tokens
from sam3port.runtime.masks.region import known

Break = Callable[[pytest.MonkeyPatch], None]


def shifted_input(patch: pytest.MonkeyPatch) -> None:
    whole = resize.resize
    patch.setattr(picture, "resize", lambda pixels, height, width: np.roll(whole(pixels, height, width), 1, 1))


def blue_first(patch: pytest.MonkeyPatch) -> None:
    whole = resize.resize
    patch.setattr(picture, "resize", lambda pixels, height, width: whole(pixels, height, width)[..., ::-1])


def not_turned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(picture, "_upright", lambda image, _: image)


def of_results(change: Callable[[Any], Any]) -> Break:
    """What `segment` returns is another thing."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        whole = encoded.EncodedImage.segment
        patch.setattr(encoded.EncodedImage, "segment", lambda self, **given: change(whole(self, **given)))

    return apply


def without(*names: str) -> Break:
    """Arguments of prompts do not arrive."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        for method in ("segment", "click"):
            whole = getattr(encoded.EncodedImage, method)

            def dropping(self: Any, *, _whole: Any = whole, **given: Any) -> Any:
                return _whole(self, **{name: value for name, value in given.items() if name not in names})

            patch.setattr(encoded.EncodedImage, method, dropping)

    return apply


def one_more(patch: pytest.MonkeyPatch) -> None:
    whole = encoded.EncodedImage.segment
    patch.setattr(
        encoded.EncodedImage,
        "segment",
        lambda self, **given: whole(self, **given | {"threshold": given["threshold"] * 0.9}),
    )


def holes_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(encoded, "filled", lambda masks: masks)


def text_not_cleaned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tokens, "cleaned", lambda text: text)


def other_text(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(encoded, "VISUAL", "geometric")


_OF_OBJECTS = ("masks", "boxes", "scores", "queries")

BREAKS: dict[str, tuple[Break, str, set[str]]] = {
    "the resized image is one pixel off": (shifted_input, "the input differs by", {"input", "text", "click"}),
    "blue comes first": (blue_first, "the input differs by", {"input", "text", "click"}),
    "EXIF is ignored": (not_turned, "the photograph is", {"text", "click"}),
    "more is kept": (one_more, "keeps what upstream does not: query", {"text"}),
    "one less is kept": (
        of_results(lambda r: r.take(np.arange(1, len(r)))),
        "misses what upstream keeps: query",
        {"text", "one box"},
    ),
    "boxes are off by 0.6 pixels": (
        of_results(lambda r: dataclasses.replace(r, boxes=r.boxes + np.float32(0.6))),
        "a box is 0.60 pixels off",
        {"text", "one box"},
    ),
    "scores are off by 0.002": (
        of_results(lambda r: dataclasses.replace(r, scores=r.scores + np.float32(0.002))),
        "a score is 2.00e-03 off",
        {"text", "one box"},
    ),
    "masks are off by some pixels": (
        of_results(lambda r: dataclasses.replace(r, regions=known(np.roll(r.masks, 5, 2)))),
        "IoU",
        {"text", "one box"},
    ),
    "masks of two objects are exchanged": (
        of_results(lambda r: dataclasses.replace(r, regions=known(np.roll(r.masks, 1, 0)))),
        "IoU",
        {"text", "one box"},
    ),
    "holes are not filled": (holes_left, "mask", {"click"}),
    "labels do not arrive": (without("box_labels", "point_labels"), "", {"boxes + + -", "points + -"}),
    "the earlier mask does not arrive": (without("mask"), "mask", {"clicks + -, earlier mask"}),
    "multimask does not arrive": (without("multimask"), "upstream", {"clicks + + -, one mask"}),
    "text is not cleaned": (text_not_cleaned, "", {"long text"}),
    "boxes alone go with another text": (other_text, "", {"one box", "boxes + + -", "points + -"}),
}
"""By what is broken: how to break it, what has to be named, and prompts that have to fail."""
