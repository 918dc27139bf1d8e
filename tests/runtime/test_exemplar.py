"""What is shown in one picture is found in others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

import sam3port
from sam3port.errors import UsageError
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.model import Model

PHOTO = skimage.data.chelsea()
BOXES: dict[str, Any] = {"boxes": [(50, 40, 300, 250), (10, 10, 60, 80)], "box_labels": [True, False]}
POINTS: dict[str, Any] = {"points": [(200, 100)]}


@pytest.fixture(scope="module")
def image(model: Model) -> EncodedImage:
    return model.encode_image(PHOTO)


@pytest.mark.parametrize("shown", [BOXES, POINTS, {**BOXES, **POINTS}], ids=["boxes", "points", "both"])
@pytest.mark.parametrize("text", [None, "cat", ["cat", "sofa"]], ids=["no text", "text", "texts"])
def test_in_the_picture_itself_it_is_the_same(image: EncodedImage, shown: dict[str, Any], text: Any) -> None:
    """The linked function in two steps, bit for bit."""
    directly = image.segment(text, threshold=0.2, **shown)
    found = image.segment(text, threshold=0.2, like=image.exemplar(**shown))
    assert len(directly)
    for name in ("boxes", "scores", "queries", "asked", "logits"):
        np.testing.assert_array_equal(getattr(found, name), getattr(directly, name))


def test_another_picture_is_asked_about_what_was_shown(model: Model, image: EncodedImage) -> None:
    other = model.encode_image(PHOTO[:, ::-1])
    one, two = (other.segment(threshold=0.0, like=image.exemplar(boxes=[box])) for box in BOXES["boxes"])
    assert np.abs(one.logits - two.logits).max() > 1e-4, "what is shown matters"
    nothing = other.segment("cat", threshold=0.0)
    assert (
        np.abs(other.segment("cat", threshold=0.0, like=image.exemplar(**BOXES)).logits - nothing.logits).max() > 1e-4
    )


def test_what_is_wrong_is_said(image: EncodedImage, tiny_artifact: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to show"):
        image.exemplar()
    with pytest.raises(UsageError, match="outside the picture"):
        image.exemplar(boxes=[(5000, 0, 6000, 10)])
    shown = image.exemplar(**POINTS)
    with pytest.raises(UsageError, match="in this picture or in another one"):
        image.segment(like=shown, **BOXES)
    again = sam3port.load(tiny_artifact).encode_image(PHOTO)
    with pytest.raises(UsageError, match="made by another model"):
        again.segment(like=shown)


def test_an_artifact_from_before_there_were_exemplars(copy_of_artifact: Path) -> None:
    file = copy_of_artifact / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    for name in ("exemplar", "ground_like"):
        del content["entries"][name]
    file.write_text(json.dumps(content), encoding="utf-8")
    image = sam3port.load(copy_of_artifact).encode_image(PHOTO)
    assert len(image.segment("cat", threshold=0.0, **BOXES))
    with pytest.raises(UsageError, match="takes no examples of other pictures: an earlier sam3port has built it"):
        image.exemplar(**BOXES)
