"""Found objects that are clicked on, boxes that each mark one, maps instead of objects."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from sam3port.errors import UsageError
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.model import Model

PHOTO = skimage.data.chelsea()


@pytest.fixture(scope="module")
def image(model: Model) -> EncodedImage:
    return model.encode_image(PHOTO)


def test_a_found_object_can_be_clicked_on(image: EncodedImage) -> None:
    found = image.segment("cat", threshold=0.3)
    assert found.logits.shape == (len(found), 32, 32)
    point = {"points": [(200, 100)], "multimask": False}
    alone = image.click(**point)
    refined = [image.click(mask=found.logits[index], **point) for index in range(2)]
    assert np.abs(refined[0].logits - alone.logits).max() > 1e-4, "the mask arrives"
    assert np.abs(refined[0].logits - refined[1].logits).max() > 1e-4
    again = image.click(points=[(200, 100), (30, 30)], point_labels=[True, False], mask=refined[0].logits[0])
    assert np.abs(again.logits[0] - refined[0].logits).max() > 1e-4


def test_each_box_marks_one_object(image: EncodedImage) -> None:
    boxes = [(50, 40, 300, 250), (10, 10, 60, 80), (200, 100, 500, 290)]
    found = image.segment_boxes(boxes)
    assert found.boxes.tolist() == [list(map(float, box)) for box in boxes]
    for index, box in enumerate(boxes):
        alone = image.click(box=box, multimask=False)
        np.testing.assert_array_equal(found.mask(index), alone.masks[0])
        assert found.scores[index] == alone.scores[0]
    assert found.names == ["object"] * 3
    with pytest.raises(UsageError, match="there are no boxes"):
        image.segment_boxes([])
    with pytest.raises(UsageError, match="outside the picture"):
        image.segment_boxes([(500, 0, 600, 10)])


def test_a_map_for_each_text(image: EncodedImage) -> None:
    found = image.semantic(["cat", "sofa"])
    assert found.masks.shape == (2, *PHOTO.shape[:2])
    assert found.names == ["cat", "sofa"]
    assert ((found.scores > 0) & (found.scores < 1)).all()
    alone = image.semantic("sofa")
    np.testing.assert_array_equal(alone.masks[0], found.masks[1])
    more, less = (image.semantic("cat", each).masks.sum() for each in (0.1, 0.9))
    assert more > less
    with pytest.raises(UsageError, match="the text is ''"):
        image.semantic("")
