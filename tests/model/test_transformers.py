"""A second reference, written by others: transformers' own models and processors with the same weights.

Each known deviation of theirs is removed in tests/model/transformers_model.py and stated in docs/deviations.md. Nothing
unexplained is left: what remains are roundings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

import sam3port
from sam3port.model.preset import preset
from tests.model.checkpoints.conftest import load
from tests.model.checkpoints.test_huggingface import same_but_for_points
from tests.model.checkpoints.writing import huggingface_tensors

pytest.importorskip("transformers", reason="the dependency group reference is not installed")

from tests.model import transformers_model as theirs

TINY = preset("tiny")
PICTURE = Image.fromarray(astronaut()).resize((451, 300))
BOXES = [[100.0, 60.0, 300.0, 250.0], [10.0, 10.0, 120.0, 140.0], [250.0, 20.0, 440.0, 140.0]]
PROMPTS: dict[str, tuple[str | None, list[list[float]] | None, list[int] | None]] = {
    "text": ("a person", None, None),
    "longer text": ("a dog on a blue sofa", None, None),
    "box": (None, BOXES[:1], [1]),
    "boxes + + -": (None, BOXES, [1, 1, 0]),
    "text, boxes + -": ("a person", BOXES[1:], [1, 0]),
}
CLICKS = {
    "click": ([[200.0, 150.0]], [1], True),
    "clicks + - +, one mask": ([[200.0, 150.0], [50.0, 40.0], [300.0, 200.0]], [1, 0, 1], False),
}

# Measured: mask logits up to 5.2e-5 where logits reach 100 and more, scores up to 3.0e-7, clicks 6.9e-6.
LOGITS, SCORES, BOX, CLICK, IOU = 6e-5, 5e-7, 1e-6, 2e-5, 0.9999


@pytest.fixture(scope="module")
def detector(tiny: Any) -> theirs.Detector:
    return theirs.Detector(tiny, TINY)


@pytest.fixture(scope="module")
def tracker(tiny: Any) -> theirs.Tracker:
    return theirs.Tracker(tiny, TINY)


@pytest.fixture(scope="module")
def shown(tiny: Any) -> Any:
    """Upstream's processor and what it made of the picture."""
    from sam3.model.sam3_image_processor import Sam3Processor

    processor = Sam3Processor(tiny, resolution=TINY.image_size, device="cpu")
    with torch.inference_mode():
        return processor, processor.set_image(PICTURE)


def upstreams(tiny: Any, shown: Any, text: str | None, boxes: Any, labels: Any) -> Any:
    """Upstream's raw answer, asked as its processor asks."""
    processor, state = shown
    width, height = PICTURE.size
    with torch.inference_mode():
        state["backbone_out"].update(tiny.backbone.forward_text([text or "visual"], device="cpu"))
        prompt = tiny._get_dummy_prompt()
        for (x0, y0, x1, y1), label in zip(boxes or (), labels or (), strict=True):
            box = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
            prompt.append_boxes(torch.tensor([[box]]), torch.tensor([[bool(label)]]))
        return tiny.forward_grounding(
            backbone_out=state["backbone_out"],
            find_input=processor.find_stage,
            geometric_prompt=prompt,
            find_target=None,
        )


def scores_of(answer: Any) -> torch.Tensor:
    logits, presence = answer["pred_logits"][0].reshape(-1), answer["presence_logit_dec"]
    return logits.sigmoid() * presence.sigmoid().reshape(())


def largest(difference: Any) -> float:
    return float(abs(difference).max())


@pytest.mark.parametrize("name", PROMPTS)
def test_the_detector_answers_alike(name: str, detector: theirs.Detector, tiny: Any, shown: Any) -> None:
    own = upstreams(tiny, shown, *PROMPTS[name])
    _, found = detector.ask(PICTURE, *PROMPTS[name])
    scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0]
    assert largest(found.pred_masks - own["pred_masks"]) <= LOGITS
    assert largest(scores - scores_of(own)) <= SCORES
    assert largest(found.pred_boxes - own["pred_boxes_xyxy"]) <= BOX


@pytest.mark.parametrize("name", CLICKS)
def test_the_tracker_answers_clicks_alike(name: str, tracker: theirs.Tracker, tiny: Any, shown: Any) -> None:
    points, labels, several = CLICKS[name]
    with torch.inference_mode():
        _, scores, logits = tiny.predict_inst(
            shown[1], point_coords=np.array(points), point_labels=np.array(labels), multimask_output=several
        )
    found = tracker.click(PICTURE, points, labels, several)
    assert largest(found.pred_masks[0, 0].numpy() - logits) <= CLICK
    assert largest(found.iou_scores[0, 0].numpy() - scores) <= SCORES


def test_the_artifact_finds_what_transformers_finds(detector: theirs.Detector, tiny_artifact: Path) -> None:
    """Through both programs from the picture's pixels to masks of its size."""
    image = sam3port.load(tiny_artifact).encode_image(PICTURE)
    compared = 0
    for text, boxes, labels in PROMPTS.values():
        sizes, answer = detector.ask(PICTURE, text, boxes, labels)
        scores = (answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid())[0].sort().values
        gap = int(scores.diff().argmax())  # where no rounding moves an object across
        threshold = float(scores[gap : gap + 2].mean())
        found = detector.objects(sizes, answer, threshold)
        own = image.segment(text=text, boxes=boxes, box_labels=None if labels is None else np.array(labels) == 1,
                            threshold=threshold)  # fmt: skip
        assert len(own.masks) == len(found["masks"]) > 0
        assert largest(own.scores - found["scores"].numpy()) <= SCORES
        assert largest(own.boxes - found["boxes"].numpy()) <= 1e-3, "pixels"
        for mask, other in zip(own.masks, found["masks"].numpy(), strict=True):
            union = (mask | other).sum()
            assert union == 0 or (mask & other).sum() / union >= IOU
            compared += int(union > 0)
    assert compared > 20


def test_every_tensor_of_their_model_is_known(tiny: Any) -> None:
    """Names and shapes of the model that Hugging Face publishes, by its own code."""
    with torch.device("meta"):
        model = theirs.video_model(TINY)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert wanted == {name: tuple(value.shape) for name, value in huggingface_tensors(tiny).items()}


@pytest.mark.parametrize("kind", ["video", "detector"])
def test_what_their_code_saves_is_read(kind: str, tiny: Any, tmp_path: Path) -> None:
    """`save_pretrained` of 5.24 doubles prefixes in the one and has none in the other."""
    from safetensors import safe_open

    tensors = huggingface_tensors(tiny)
    if kind == "video":
        model = theirs.video_model(TINY)
        model.load_state_dict(tensors)
    else:
        model = theirs.Detector(tiny, TINY).model
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        saved = set(file.keys())
    if kind == "video":
        assert any(name.startswith("tracker_model.tracker_model.") for name in saved)
    else:
        assert any(name.startswith("vision_encoder.") for name in saved)
    same_but_for_points(load(tmp_path), tiny)


def test_deviations_that_are_removed_are_there(detector: theirs.Detector, tiny: Any, shown: Any) -> None:
    """When transformers corrects one, docs/deviations.md has to say so."""
    own = upstreams(tiny, shown, "a person", None, None)
    inputs = dict(detector.processor(images=PICTURE, text="a person", return_tensors="pt"))
    inputs.pop("original_sizes")
    with torch.inference_mode():
        plain = detector.model(**inputs)
    assert largest(plain.pred_logits - own["pred_logits"][..., 0]) > 0.1, "1: text alone"
    from transformers import Sam3TrackerModel, Sam3ViTConfig

    assert Sam3ViTConfig().layer_norm_eps == 1e-6, "5: LayerNorm of the ViT"
    assert (
        type(detector.model.detr_decoder)(detector.model.config.detr_decoder_config).clamp_presence_logit_max_val == 10
    )
    tracker = theirs.Tracker(tiny, TINY)
    points, labels, several = CLICKS["click"]
    without = tracker.click(PICTURE, points, labels, several).pred_masks
    tracker.model.__class__ = Sam3TrackerModel
    assert largest(tracker.click(PICTURE, points, labels, several).pred_masks - without) > 0.1, "2: no-memory embedding"
