"""Padding changes nothing: fewer prompts, points and boxes than a build takes give what a build for just them gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3port.artifact.interface import Arrays, Capacity
from sam3port.artifact.prompts import Clicks, Geometry, join, pad_clicks, pad_geometry, pad_tokens
from sam3port.compiler.export import export_module
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples
from sam3port.components.prompt_encoder import mask_logits
from sam3port.model.preset import Preset
from tests.components.conftest import COMPONENTS, Stage, run

ROOMY = Capacity(prompts=1, points=8, boxes=6)


def close(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Sums of the same numbers in another order: 1e-6 of the largest."""
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=2e-6)


def prompt(points: int, boxes: int, seed: int = 5) -> Geometry:
    samples = Samples(seed)
    return Geometry(
        points=samples.uniform((points, 2), 0, 1),
        point_labels=samples.random.integers(0, 2, points),
        boxes=samples.boxes(boxes),
        box_labels=samples.random.integers(0, 2, boxes),
    )


def image(sizes: Preset) -> Arrays:
    """What the image encoder leaves."""
    heads, encoder = COMPONENTS["segmentation_head"](), COMPONENTS["transformer_encoder"]()
    return {**heads.example(sizes, 11), **encoder.example(sizes, 12)}


class Grounding:
    """The detector's stages after the image, wired by name."""

    def __init__(self, capacity: Capacity, model: Any, sizes: Preset) -> None:
        self.capacity, self.sizes = capacity, sizes
        self.stages = {name: Stage(COMPONENTS[name](capacity), model, sizes) for name in STAGES}

    def __call__(self, given: Arrays, prompts: list[Geometry], texts: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        seen: dict[str, Any] = {
            **given,
            **pad_geometry(prompts, self.capacity),
            "tokens": pad_tokens(texts, self.capacity),
        }
        for name, stage in self.stages.items():
            seen |= stage(seen)
            if name == "geometry_encoder":
                parts = ("text_features", "text_mask", "geometry_features", "geometry_mask")
                seen |= join(*(seen[part] for part in parts))
        return seen


STAGES = (
    "text_encoder",
    "geometry_encoder",
    "transformer_encoder",
    "transformer_decoder",
    "segmentation_head",
    "scoring_head",
)
RESULTS = ("memory", "hs", "reference_boxes", "presence_logits", "pred_masks", "pred_logits", "pred_boxes", "scores")


def tokens(sizes: Preset, count: int) -> NDArray[np.int64]:
    return Samples(8).tokens(specs.tokens(sizes, Capacity(prompts=count)), sizes.text_vocab)


@pytest.mark.parametrize(("points", "boxes"), [(0, 0), (1, 0), (0, 1), (3, 2), (8, 6)])
def test_points_and_boxes(points: int, boxes: int, tiny: Any, sizes: Preset) -> None:
    exact = Grounding(Capacity(1, points, boxes), tiny, sizes)
    padded = Grounding(ROOMY, tiny, sizes)
    given, texts = image(sizes), tokens(sizes, 1)
    expected = exact(given, [prompt(points, boxes)], texts)
    found = padded(given, [prompt(points, boxes)], texts)
    valid = ~found["geometry_mask"][0]
    assert valid.sum() == points + boxes + 1 == len(expected["geometry_features"])
    assert not expected["geometry_mask"].any()
    close(found["geometry_features"][valid, 0], expected["geometry_features"][:, 0])
    for name in RESULTS:
        close(found[name], expected[name])


def test_padding_counts_without_its_mask(tiny: Any, sizes: Preset) -> None:
    """The test above can fail: the same padding, not declared as such, changes the result."""
    stage = Stage(COMPONENTS["geometry_encoder"](ROOMY), tiny, sizes)
    given = {**image(sizes), **pad_geometry([prompt(3, 2)], ROOMY)}
    expected = stage(given)["geometry_features"][:6]
    undeclared = stage({**given, "point_mask": np.zeros((1, 8), np.bool_)})["geometry_features"]
    assert np.abs(undeclared[:3] - expected[:3]).max() > 1e-2


def test_a_batch_of_prompts_is_each_prompt_alone(tiny: Any, sizes: Preset) -> None:
    prompts = [prompt(2, 1, 1), prompt(0, 3, 2), prompt(0, 0, 3)]
    texts = tokens(sizes, 3)
    given = image(sizes)
    # Room for four: the last one is padding of the batch.
    together = Grounding(Capacity(4, 3, 3), tiny, sizes)(given, prompts, texts)
    alone = Grounding(Capacity(1, 3, 3), tiny, sizes)
    for index, one in enumerate(prompts):
        expected = alone(given, [one], texts[index : index + 1])
        for name in RESULTS:
            axis = 0 if name.startswith(("pred", "scores")) else 1
            close(together[name].take([index], axis), expected[name])
    assert all(np.isfinite(together[name]).all() for name in RESULTS)


def clicks(points: int, box: bool, mask: bool, sizes: Preset, seed: int = 4) -> Clicks:
    samples = Samples(seed)
    return Clicks(
        points=samples.uniform((points, 2), 0, sizes.image_size),
        labels=samples.random.integers(0, 2, points),
        box=np.array([10, 20, 70, 90], np.float32) if box else None,
        mask=mask_logits(samples, (sizes.mask_size,) * 2) if mask else None,
    )


CLICKS = [(0, False, False), (1, False, False), (0, True, False), (3, False, False), (8, True, True), (0, False, True)]


@pytest.fixture(scope="module")
def exported() -> dict[tuple[str, Capacity], Any]:
    """Exported programs by component and capacity: only they have padding (see `prompt_encoder`)."""
    return {}


@pytest.mark.parametrize(("points", "box", "mask"), CLICKS)
@pytest.mark.parametrize("capacity", [ROOMY, Capacity(3, 8, 1)], ids=["one", "batched"])
def test_clicks_with_padding_are_upstreams_without(
    points: int, box: bool, mask: bool, capacity: Capacity, tiny: Any, sizes: Preset, exported: dict[Any, Any]
) -> None:
    """The exported graph, which pads, against upstream's own prompt encoder and mask decoder, which cannot."""
    import torch

    for name in ("prompt_encoder", "mask_decoder"):
        if (name, capacity) not in exported:
            component = COMPONENTS[name](capacity)
            program = export_module(component.module(tiny, sizes), component.example(sizes, 0))
            exported[name, capacity] = program.module()
    one = clicks(points, box, mask, sizes)
    others = [clicks(5, False, True, sizes, 6), clicks(1, True, False, sizes, 7)][: capacity.prompts - 1]
    encoder, decoder = (COMPONENTS[name](capacity) for name in ("prompt_encoder", "mask_decoder"))
    inputs = pad_clicks([one, *others], capacity, sizes)
    embedded = run(exported["prompt_encoder", capacity], inputs, [s.name for s in encoder.outputs(sizes)])
    features = {s.name: decoder.example(sizes, 9)[s.name] for s in specs.tracker(sizes)}
    outputs = [s.name for s in decoder.outputs(sizes)]
    found = run(exported["mask_decoder", capacity], {**features, **embedded}, outputs)

    tracker = tiny.inst_interactive_predictor.model
    corners = [] if one.box is None else [one.box[:2], one.box[2:]]
    coordinates = torch.from_numpy(np.array([*corners, *one.points], np.float32))[None]
    labels = torch.tensor([[*([2, 3] if box else []), *one.labels]], dtype=torch.int32)
    with torch.no_grad():
        sparse, dense = tracker.sam_prompt_encoder(
            points=(coordinates, labels) if labels.numel() else None,
            boxes=None,
            masks=None if one.mask is None else torch.from_numpy(one.mask)[None, None],
        )
        for multimask, masks, scores in ((True, "masks", "iou_scores"), (False, "single_mask", "single_iou_score")):
            expected_masks, expected_scores, _, object_logit = tracker.sam_mask_decoder(
                image_embeddings=torch.from_numpy(features["image_embedding"]),
                image_pe=tracker.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
                repeat_image=False,
                high_res_features=[torch.from_numpy(features[f"high_res_{level}"]) for level in (0, 1)],
            )
            close(found[masks][:1], expected_masks.numpy())
            close(found[scores][:1], expected_scores.numpy())
            close(found["object_logit"][:1], object_logit.numpy())
