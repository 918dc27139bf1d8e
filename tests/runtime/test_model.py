"""The Python interface on a real artifact. That its answers are upstream's is shown by tests/verify."""

from __future__ import annotations

import json
import multiprocessing
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

import sam3port
from sam3port.artifact.interface import Capacity
from sam3port.errors import Sam3PortError, UsageError
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.model import Model
from sam3port.runtime.result import Clicked, Result

PHOTO = skimage.data.astronaut()[:400]
"""400 x 512."""


@pytest.fixture(scope="module")
def image(model: Model) -> EncodedImage:
    return model.encode_image(PHOTO)


def same(one: Result, other: Result) -> None:
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.masks, other.masks)


def test_a_text_finds_objects_of_the_pictures_size(image: EncodedImage) -> None:
    found = image.segment(text="face", threshold=0.3)
    assert 0 < len(found) < 20, "with these seeded weights some are kept and some are not"
    assert found.masks.shape == (len(found), 400, 512)
    assert found.masks.dtype == np.bool_
    assert found.masks.any((1, 2)).all()
    assert found.boxes.shape == (len(found), 4)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.scores > 0.3).all()
    assert found.text == "face"


def test_the_threshold_keeps_what_is_above_it(image: EncodedImage) -> None:
    everything = image.segment(text="face", threshold=0)
    assert len(everything) == 20
    middle = float(np.sort(everything.scores)[10])
    kept = image.segment(text="face", threshold=middle)
    assert len(kept) == 9
    chosen = everything.scores > np.float32(middle)
    np.testing.assert_array_equal(kept.masks, everything.masks[chosen])
    np.testing.assert_array_equal(kept.queries, np.flatnonzero(chosen))
    nothing = image.segment(text="face", threshold=1)
    assert (len(nothing), nothing.masks.shape, nothing.boxes.shape) == (0, (0, 400, 512), (0, 4))


def test_a_path_an_image_an_array_and_a_list_are_the_same(model: Model, image: EncodedImage, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(file)
    expected = image.segment(text="face", threshold=0.3)
    encoded = model.encode_image([file, Image.fromarray(PHOTO), PHOTO])
    assert [type(each) for each in encoded] == [EncodedImage] * 3
    for each in encoded:
        same(each.segment(text="face", threshold=0.3), expected)


def test_each_kind_of_prompt_changes_the_answer(image: EncodedImage) -> None:
    prompts: dict[str, dict[str, Any]] = {
        "text": {"text": "face"},
        "another text": {"text": "helmet"},
        "box": {"boxes": [(150, 20, 300, 200)]},
        "negative box": {"boxes": [(150, 20, 300, 200)], "box_labels": [False]},
        "box and text": {"text": "face", "boxes": [(150, 20, 300, 200)]},
        "two boxes": {"boxes": [(150, 20, 300, 200), (300, 200, 500, 390)]},
        "point": {"points": [(200, 100)]},
        "negative point": {"points": [(200, 100)], "point_labels": [False]},
    }
    scores = {name: image.segment(**prompt, threshold=0).scores for name, prompt in prompts.items()}
    for one in scores:
        for other in scores:
            assert one == other or np.abs(scores[one] - scores[other]).max() > 1e-4, (one, other)


def test_no_text_is_upstreams_visual(image: EncodedImage) -> None:
    box = [(150, 20, 300, 200)]
    without = image.segment(boxes=box, threshold=0)
    same(without, image.segment(text="visual", boxes=box, threshold=0))
    assert without.text is None


def test_capacity_can_be_used_up(image: EncodedImage) -> None:
    boxes = [(20 * i, 10, 20 * i + 100, 200) for i in range(8)]
    assert len(image.segment(boxes=boxes, points=[(i, i) for i in range(8)], threshold=0)) == 20


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({}, "there is no prompt"),
        ({"boxes": []}, "there is no prompt"),
        ({"text": ""}, "the text is ''"),
        ({"text": " \n"}, "the text is"),
        ({"text": b"face"}, "the text is b'face'"),
        ({"text": []}, "the list of texts is empty"),
        ({"text": ["face", " "]}, "the text is ' '"),
        ({"text": "face", "mask_threshold": 0}, "the mask threshold is 0"),
        ({"text": "face", "mask_threshold": 1.5}, "the mask threshold is 1.5"),
        ({"text": "face", "max_objects": 0}, "max_objects is 0"),
        ({"text": "face", "nms": -1}, "nms is -1"),
        ({"text": "", "boxes": [(0, 0, 9, 9)]}, "the text is ''"),
        ({"text": "face", "threshold": 1.5}, "the threshold is 1.5"),
        ({"text": "face", "threshold": -0.1}, "the threshold is -0.1"),
        ({"text": "face", "threshold": float("nan")}, "the threshold is nan"),
        ({"text": "face", "threshold": True}, "the threshold is True"),
        ({"text": "face", "threshold": "0.5"}, "the threshold is '0.5'"),
        ({"text": "face", "threshold": 10**400}, "the threshold is 1000"),
        ({"text": "face", "nms": -(10**400)}, "nms is -1000"),
        ({"boxes": [(0, 0, 9, 9)] * 9}, "9 boxes are more than the 8 that this build takes"),
        ({"points": [(0, 0)] * 9}, "9 points are more than the 8"),
        ({"boxes": [(600, 0, 700, 9)]}, "outside the picture of 512 x 400"),
    ],
)
def test_what_cannot_be_asked_is_said(image: EncodedImage, prompt: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        image.segment(**prompt)


def test_several_texts_get_the_answers_that_each_would_get_alone(image: EncodedImage) -> None:
    texts = ["face", "helmet", "the moon"]
    together = image.segment(text=texts, threshold=0.3)
    assert together.texts == tuple(texts)
    assert together.text is None
    for index, text in enumerate(texts):
        alone = image.segment(text=text, threshold=0.3)
        mine = together.take(np.flatnonzero(together.asked == index))
        assert len(alone) > 0
        same(mine, alone)
        np.testing.assert_array_equal(mine.queries, alone.queries)
        assert mine.names == [text] * len(alone)
    assert len(image.segment(text=["face"], threshold=0.3)) == len(image.segment(text="face", threshold=0.3))


class TwoAtOnce:
    """A model that takes two prompts, and finds in each one object with the text's length as its score."""

    manifest = SimpleNamespace(capacity=Capacity(prompts=2, points=1, boxes=1))

    def __init__(self) -> None:
        self.engine = self
        self.asked: list[list[str]] = []

    def encode_texts(self, texts: list[str]) -> dict[str, Any]:
        self.asked.append(list(texts))
        return {"texts": [*texts, *["nothing"] * (2 - len(texts))]}

    def call(self, _entry: str, given: dict[str, Any]) -> dict[str, Any]:
        assert given["boxes"].shape[1] == len(given["texts"]) == 2
        return given

    def arrays(self, handles: dict[str, Any], *_names: str) -> list[np.ndarray]:
        scores = np.array([[len(text) / 100] for text in handles["texts"]], np.float32)
        return [scores, np.full((2, 1, 4), 0.5, np.float32), np.ones((2, 1, 4, 4), np.float32)]


def test_texts_are_asked_as_many_at_once_as_the_build_takes() -> None:
    """The third has an empty place beside it, whose answer is none."""
    model = TwoAtOnce()
    found = EncodedImage(model, PHOTO, {}).segment(text=["a", "bb", "ccc"], threshold=0)  # type: ignore[arg-type]
    assert model.asked == [["a", "bb"], ["ccc"]]
    np.testing.assert_allclose(found.scores, [0.01, 0.02, 0.03], atol=1e-6)
    assert found.asked.tolist() == [0, 1, 2]


def test_what_is_best_of_those_left_out_is_known(image: EncodedImage) -> None:
    scores = image.segment(text="face", threshold=0).scores
    assert image.segment(text="face", threshold=0).best_below is None
    assert image.segment(text="face", threshold=1).best_below == scores.max()
    kept = image.segment(text="face", threshold=0.3)
    assert kept.best_below == scores[scores <= 0.3].max()


def test_the_best_objects(image: EncodedImage) -> None:
    every = image.segment(text=["face", "helmet"], threshold=0)
    few = image.segment(text=["face", "helmet"], threshold=0, max_objects=5)
    np.testing.assert_array_equal(np.sort(few.scores), np.sort(every.scores)[-5:])
    assert np.all(np.diff(few.asked) >= 0), "in the order of texts and queries"
    assert len(image.segment(text="face", threshold=0, max_objects=1000)) == 20


def test_a_higher_mask_threshold_makes_masks_smaller(image: EncodedImage) -> None:
    masks = [image.segment(text="face", threshold=0, mask_threshold=each).masks for each in (0.3, 0.5, 0.7)]
    assert (masks[0] >= masks[1]).all() and (masks[1] >= masks[2]).all()
    assert masks[0].sum() > masks[1].sum() > masks[2].sum()


def test_objects_upon_each_other_are_left_out(image: EncodedImage) -> None:
    every = image.segment(text=["face", "helmet"], threshold=0)
    kept = image.segment(text=["face", "helmet"], threshold=0, nms=0.6)
    assert 2 < len(kept) < len(every)

    def iou(one: np.ndarray, other: np.ndarray) -> float:
        return float((one & other).sum() / max((one | other).sum(), 1))

    for index in range(len(kept)):
        for other in range(index):
            if kept.asked[index] == kept.asked[other]:
                assert iou(kept.masks[index], kept.masks[other]) < 0.65  # it was decided at the model's own size
    same(image.segment(text="face", threshold=0, nms=1.0), image.segment(text="face", threshold=0))


def test_an_over_long_text_is_cut_with_a_warning(image: EncodedImage) -> None:
    long = "a very " + "long " * 40 + "truck"
    with pytest.warns(UserWarning, match="longer than 30 tokens, its end is cut off: 'a very long"):
        cut = image.segment(text=long, threshold=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(cut, image.segment(text="a very " + "long " * 28, threshold=0))


def test_texts_of_all_scripts_are_answered(image: EncodedImage) -> None:
    for text in ("лицо", "顔", "وجه", "🙂", "x" * 30):
        assert len(image.segment(text=text, threshold=0)) == 20


def test_texts_are_encoded_once(model: Model) -> None:
    assert model.encode_text("one text") is model.encode_text("One  Text ")
    assert model.encode_text("one text") is not model.encode_text("another text")


def test_clicks_give_three_masks_or_one(image: EncodedImage) -> None:
    three = image.click(points=[(220, 100)])
    assert three.masks.shape == (3, 400, 512)
    assert three.masks.dtype == np.bool_
    assert three.scores.shape == (3,)
    assert three.logits.shape == (3, 32, 32)
    assert np.abs(three.logits).max() <= 32
    one = image.click(points=[(220, 100)], multimask=False)
    assert (one.masks.shape, one.scores.shape, one.logits.shape) == ((1, 400, 512), (1,), (1, 32, 32))


def test_every_part_of_a_click_counts(image: EncodedImage) -> None:
    logits = image.click(points=[(220, 100)]).logits
    prompts: dict[str, dict[str, Any]] = {
        "point": {"points": [(220, 100)]},
        "negative": {"points": [(220, 100)], "point_labels": [False]},
        "two points": {"points": [(220, 100), (300, 300)]},
        "box": {"box": (150, 20, 300, 200)},
        "box and point": {"box": (150, 20, 300, 200), "points": [(220, 100)]},
        "mask": {"mask": logits[0]},
        "mask and point": {"mask": logits[:1], "points": [(220, 100)]},
    }
    found: dict[str, Clicked] = {name: image.click(**prompt) for name, prompt in prompts.items()}
    for one in found:
        for other in found:
            assert one == other or np.abs(found[one].logits - found[other].logits).max() > 1e-4, (one, other)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({}, "nothing was clicked"),
        ({"mask": np.zeros((31, 32), np.float32)}, r"shape \(31, 32\), it must be \(32, 32\)"),
        ({"mask": np.zeros((2, 32, 32), np.float32)}, r"shape \(2, 32, 32\)"),
        ({"points": [(1, 1)] * 9}, "9 points are more than the 8"),
        ({"points": [(1, 1), (2, 2)], "point_labels": [True]}, "2 points have 1 labels"),
    ],
)
def test_what_cannot_be_clicked_is_said(image: EncodedImage, prompt: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        image.click(**prompt)


def test_threads_get_the_answers_that_they_would_get_alone(model: Model) -> None:
    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    texts = ["face", "cup", "cat", "rocket"]

    def ask(index: int) -> Result:
        return model.encode_image(photos[index % 4]).segment(text=f"{texts[index % 4]} {index % 3}", threshold=0.2)

    alone = [ask(index) for index in range(12)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(ask, [*range(12)] * 2))
    for one, other in zip(alone * 2, together, strict=True):
        same(one, other)


def test_the_number_of_threads_changes_nothing(tiny_artifact: Path, image: EncodedImage) -> None:
    expected = image.segment(text="face", threshold=0)
    for threads in (1, 3):
        other = sam3port.load(tiny_artifact, threads=threads)
        same(other.encode_image(PHOTO).segment(text="face", threshold=0), expected)
    with pytest.raises(UsageError, match="0 threads"):
        sam3port.load(tiny_artifact, threads=0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists a process's mapped files")
def test_weights_lie_in_the_mapped_files(model: Model) -> None:
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "safetensors" in line]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in maps]
    mapped = copied = 0
    for weights in model.engine._weights_of.values():
        for weight in weights:
            array = np.from_dlpack(weight)
            address = array.ctypes.data
            if any(start <= address < end for start, end in ranges):
                mapped += array.nbytes
                assert address % 64 == 0
            else:
                copied += array.nbytes
    assert mapped > 20e6
    assert copied < 0.02 * mapped, f"{copied} bytes were copied"


def _in_a_child(image: EncodedImage, queue: Any) -> None:
    try:
        image.segment(text="a text that is not remembered")
    except UsageError as error:
        queue.put(str(error))


@pytest.mark.skipif(sys.platform != "linux", reason="the other systems do not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_is_told_and_does_not_hang(image: EncodedImage) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(image, queue), daemon=True)
    child.start()
    try:
        assert "loaded in another process" in queue.get(timeout=60)
    finally:
        child.kill()
        child.join()


def _other_sizes(content: dict[str, Any]) -> None:
    content["sizes"]["image_size"] = 56


def _other_capacity(content: dict[str, Any]) -> None:
    content["capacity"]["points"] = 4


def _other_name(content: dict[str, Any]) -> None:
    content["entries"]["ground"]["inputs"][0]["name"] = "something"


def _other_shapes(content: dict[str, Any]) -> None:
    content["sizes"]["image_size"] = 56
    content["entries"]["encode_image"]["inputs"][0]["shape"] = [1, 3, 56, 56]


def _fewer_outputs(content: dict[str, Any]) -> None:
    content["entries"]["encode_image"]["outputs"].pop()


def _fewer_weights(content: dict[str, Any]) -> None:
    content["entries"]["ground"]["parameters"].pop()


def _other_weights(content: dict[str, Any]) -> None:
    content["entries"]["ground"]["parameters"].reverse()


def _no_function(content: dict[str, Any]) -> None:
    content["entries"]["encode_image"], content["entries"]["click"] = (
        content["entries"]["click"],
        content["entries"]["encode_image"],
    )


@pytest.mark.parametrize(
    "change",
    [_other_sizes, _other_capacity, _other_name, _other_shapes, _fewer_outputs, _fewer_weights, _other_weights,
     _no_function],
)  # fmt: skip
def test_an_edited_manifest_ends_in_an_error_and_not_in_a_crash(copy_of_artifact: Path, change: Any) -> None:
    file = copy_of_artifact / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(Sam3PortError) as caught:
        sam3port.load(copy_of_artifact).encode_image(PHOTO).segment(text="face", points=[(1, 1)])
    assert str(caught.value).count("\n") <= 1
    assert len(str(caught.value)) < 500


def test_a_library_of_something_else_is_said(copy_of_artifact: Path) -> None:
    import hashlib

    library, file = copy_of_artifact / "model.so", copy_of_artifact / "manifest.json"
    library.write_bytes(b"\x7fELF and nothing more")
    content = json.loads(file.read_text())
    content["files"]["model.so"] = {
        "sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
        "bytes": library.stat().st_size,
    }
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"model\.so cannot be loaded: ") as caught:
        sam3port.load(copy_of_artifact)
    assert str(caught.value).count("\n") <= 1
