"""The components together are upstream: the same numbers as its own processor, its predictor and its mask path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from sam3port.artifact.interface import Capacity
from sam3port.artifact.prompts import Clicks, Geometry, pad_clicks
from sam3port.components.mask_prompt_encoder import configure
from sam3port.model.preset import Preset
from tests.components.conftest import COMPONENTS, Stage
from tests.components.test_padding import Grounding, close


@pytest.fixture(scope="module")
def photograph(tiny: Any, sizes: Preset) -> tuple[Any, Any, dict[str, Any]]:
    """Upstream's processor, its state after a photograph, and what our image encoder makes of the same pixels."""
    import torch
    from sam3.model.sam3_image_processor import Sam3Processor

    processor = Sam3Processor(tiny, resolution=sizes.image_size, device="cpu", confidence_threshold=0)
    picture = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    state = processor.set_image(picture)
    pixels = processor.transform(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1))[None].numpy()
    return processor, state, Stage(COMPONENTS["image_encoder"](), tiny, sizes)({"image": pixels})


def test_image_encoder_is_upstreams(photograph: tuple[Any, Any, dict[str, Any]]) -> None:
    _, state, ours = photograph
    out = state["backbone_out"]
    for level in range(3):
        close(ours[f"features_{level}"], out["backbone_fpn"][level].numpy())
        close(ours[f"positions_{level}"], out["vision_pos_enc"][level].numpy())
    tracker = out["sam2_backbone_out"]
    for name, level in (("high_res_0", 0), ("high_res_1", 1), ("tracker_features", 2)):
        close(ours[name], tracker["backbone_fpn"][level].numpy())
        # image_encoder's comment: the second neck's positions are the first's.
        close(ours[f"positions_{level}"], tracker["vision_pos_enc"][level].numpy())


def test_vision_backbone_is_the_image_encoders_first_neck(tiny: Any, sizes: Preset) -> None:
    given = COMPONENTS["image_encoder"]().example(sizes, 2)
    whole = Stage(COMPONENTS["image_encoder"](), tiny, sizes)(given)
    for name, array in Stage(COMPONENTS["vision_backbone"](), tiny, sizes)(given).items():
        np.testing.assert_array_equal(array, whole[name])


@pytest.mark.parametrize("text", ["a person", "", "astronaut in an orange suit with a flag and a helmet " * 4])
def test_text_boxes_and_points_are_upstreams_grounding(
    text: str, photograph: tuple[Any, Any, dict[str, Any]], tiny: Any, sizes: Preset
) -> None:
    import torch
    from sam3.model.geometry_encoders import Prompt

    processor, state, image = photograph
    boxes = np.array([[0.5, 0.5, 0.3, 0.4], [0.2, 0.3, 0.1, 0.1]], np.float32)
    points = np.array([[0.4, 0.6]], np.float32)
    prompt = Prompt(
        box_embeddings=torch.from_numpy(boxes)[:, None],
        box_labels=torch.tensor([[1], [0]]),
        point_embeddings=torch.from_numpy(points)[:, None],
        point_labels=torch.tensor([[1]]),
    )
    with torch.inference_mode():
        backbone = {**state["backbone_out"], **tiny.backbone.forward_text([text], device="cpu")}
        expected = tiny.forward_grounding(backbone, processor.find_stage, None, prompt)
    tokens = tiny.backbone.language_backbone.tokenizer([text], context_length=sizes.text_context).numpy()
    ours = Grounding(Capacity(1, 4, 4), tiny, sizes)(
        image, [Geometry(points, np.array([1]), boxes, np.array([1, 0]))], tokens
    )
    close(ours["text_features"], backbone["language_features"].numpy())
    close(ours["text_embeddings"], backbone["language_embeds"].numpy())
    np.testing.assert_array_equal(ours["text_mask"], backbone["language_mask"].numpy())
    for name in ("pred_logits", "pred_boxes", "pred_boxes_xyxy", "pred_masks", "semantic_seg"):
        close(ours[name], expected[name].numpy())
    close(ours["presence_logit"], expected["presence_logit_dec"].numpy())
    close(ours["memory"], expected["encoder_hidden_states"].numpy())


def test_text_alone_and_scores_are_upstreams_processors(
    photograph: tuple[Any, Any, dict[str, Any]], tiny: Any, sizes: Preset
) -> None:
    """Without a box the geometry encoder still adds its CLS token."""
    processor, state, image = photograph
    expected = processor.set_text_prompt("a person", dict(state))
    tokens = tiny.backbone.language_backbone.tokenizer(["a person"], context_length=sizes.text_context).numpy()
    ours = Grounding(Capacity(), tiny, sizes)(image, [Geometry()], tokens)
    assert len(expected["scores"]) == sizes.num_queries
    close(ours["scores"][0], expected["scores"].numpy())


@pytest.mark.parametrize("box", [None, [60, 80, 300, 420]], ids=["clicks", "clicks and box"])
def test_clicks_are_upstreams_predictor(
    box: list[int] | None, photograph: tuple[Any, Any, dict[str, Any]], tiny: Any, sizes: Preset
) -> None:
    _, state, image = photograph
    points, labels = np.array([[200, 200], [400, 100]]), np.array([1, 0])
    scale = sizes.image_size / np.array([512, 512])
    capacity = Capacity(1, 5, 1)
    encoder, decoder = (Stage(COMPONENTS[n](capacity), tiny, sizes) for n in ("prompt_encoder", "mask_decoder"))
    previous = None
    for _ in range(2):  # the second time with the first result as mask prompt
        click = Clicks(
            (points * scale).astype(np.float32),
            labels,
            box=None if box is None else (np.array(box) * np.tile(scale, 2)).astype(np.float32),
            mask=previous,
        )
        found = decoder({**image, **encoder(pad_clicks([click], capacity, sizes))})
        for multimask, masks, scores in ((True, "masks", "iou_scores"), (False, "single_mask", "single_iou_score")):
            _, expected_scores, low = tiny.predict_inst(
                state,
                point_coords=points,
                point_labels=labels,
                box=None if box is None else np.array(box),
                mask_input=None if previous is None else previous[None],
                multimask_output=multimask,
            )
            close(np.clip(found[masks][0], -32, 32), low)
            close(found[scores][0], expected_scores)
        previous = np.clip(found["single_mask"][0, 0], -32, 32)


def test_mask_prompts_are_the_geometry_encoders_own_path(tiny: Any, sizes: Preset) -> None:
    """Upstream's whole forward, in a geometry encoder that was built with that mask encoder."""
    import torch
    from sam3.model.geometry_encoders import Prompt, SequenceGeometryEncoder

    component = COMPONENTS["mask_prompt_encoder"](Capacity(prompts=2))
    given = component.example(sizes, 3)
    ours = Stage(component, tiny, sizes)(given)

    plain, seeded = tiny.geometry_encoder, configure(sizes)
    options = dict.fromkeys(
        (
            "points_direct_project",
            "points_pool",
            "points_pos_enc",
            "boxes_direct_project",
            "boxes_pool",
            "boxes_pos_enc",
        ),
        True,
    )
    encoder = SequenceGeometryEncoder(
        encode_boxes_as_points=False, d_model=sizes.d_model, pos_enc=plain.pos_enc, num_layers=len(plain.encode),
        layer=plain.encode[0], mask_encoder=seeded["mask_encoder"], add_mask_label=True, **options,
    ).eval()  # fmt: skip
    encoder.load_state_dict({**plain.state_dict(), **seeded.state_dict()})
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    prompt = Prompt(
        mask_embeddings=tensors["mask_prompts"], mask_labels=tensors["mask_labels"], mask_mask=tensors["mask_mask"]
    )
    image = tensors["features_2"].flatten(2).permute(2, 0, 1).expand(-1, 2, -1)
    with torch.no_grad():
        features, mask = encoder(prompt, [image], [(sizes.grid, sizes.grid)], [image])
    close(ours["mask_features"], features.numpy())
    np.testing.assert_array_equal(ours["mask_features_mask"], mask.numpy())


def test_maps_are_sequences(tiny: Any, sizes: Preset) -> None:
    """With and without feat_sizes, bit for bit."""
    sequences, maps = (COMPONENTS[name](Capacity(2)) for name in ("transformer_encoder", "transformer_encoder_maps"))
    given = sequences.example(sizes, 5)
    one, other = (Stage(component, tiny, sizes) for component in (sequences, maps))
    np.testing.assert_array_equal(one(given)["memory"], other(given)["memory"])
