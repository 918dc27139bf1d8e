"""With seeded weights every parameter that the image model reads changes its outputs: no error can hide behind a zero.

The gradient of all outputs says so at once. What the model never reads, and what cannot matter (a bias added to all
logits of a softmax), is listed, so that a parameter that stops to matter is seen.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from sam3port.model.build import build_model
from sam3port.model.preset import preset

TINY = preset("tiny")

UNREAD = re.compile(
    r"encoder\.text_projection"  # the pooled text feature, which VETextEncoder drops
    r"|vision_backbone\.(sam2_)?convs\.3\."  # the level that scalp drops
    r"|pixel_decoder\.(conv_layers|norms)\.2\."  # three stages are built, two levels are upsampled
    r"|sam_prompt_encoder\.no_mask_embed\."  # only without a mask
    # Tracking from frame to frame
    r"|model\.(transformer|maskmem_backbone|mask_downsample|maskmem_tpos_enc|no_mem_pos_enc|no_obj_|obj_ptr_)"
)
WITHOUT_EFFECT = re.compile(r"\.k_proj\.bias|boxRPB_embed_[xy]\.layers\.1\.bias")
"""Added to all logits of a softmax alike."""


def _outputs(model: Any) -> dict[str, Tensor]:
    """Grounding with text, point and boxes; the interactive path with points, a box and a mask. With gradients, so
    without `predict`, which is in inference mode."""
    from sam3.model.data_misc import FindStage
    from sam3.model.geometry_encoders import Prompt

    draw = torch.Generator().manual_seed(0)
    features = model.backbone.forward_image(torch.randn(1, 3, 112, 112, generator=draw) * 0.5)
    features.update(model.backbone.forward_text(["a person"], device="cpu"))
    zero = torch.tensor([0])
    out = model.forward_grounding(
        backbone_out=features,
        find_input=FindStage(zero, zero, None, None, None, None, None),
        geometric_prompt=Prompt(
            box_embeddings=torch.tensor([[[0.5, 0.5, 0.3, 0.4]], [[0.2, 0.3, 0.1, 0.1]]]),
            box_labels=torch.tensor([[1], [0]]),
            point_embeddings=torch.tensor([[[0.4, 0.6]]]),
            point_labels=torch.tensor([[1]]),
        ),
        find_target=None,
    )
    seen = {n: out[n] for n in ("pred_logits", "pred_boxes", "pred_masks", "presence_logit_dec", "semantic_seg")}
    tracker = model.inst_interactive_predictor.model
    decoder, encoder = tracker.sam_mask_decoder, tracker.sam_prompt_encoder
    fine, middle, coarse = features["sam2_backbone_out"]["backbone_fpn"]
    points = torch.tensor([[[20.0, 30.0], [50.0, 60.0], [10.0, 20.0], [70.0, 80.0]]])
    labels = torch.tensor([[1, 0, 2, 3]], dtype=torch.int32)  # click, negative click, corners of a box
    sparse, dense = encoder((points, labels), None, torch.randn(1, 1, 32, 32, generator=draw))
    masks, scores, _, present = decoder.predict_masks(
        image_embeddings=coarse + tracker.no_mem_embed.reshape(1, -1, 1, 1),
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=[decoder.conv_s0(fine), decoder.conv_s1(middle)],
    )
    return seen | {"click_masks": masks, "click_scores": scores, "click_present": present}


def _sensitivity(model: Any) -> dict[str, float | None]:
    """How much the outputs change with each parameter, relative to both; None for what they do not depend on."""
    model.requires_grad_(True)
    draw = torch.Generator().manual_seed(1)
    total = torch.zeros(())
    for value in _outputs(model).values():
        size = value.detach().std() if value.numel() > 1 else value.detach().abs().squeeze()
        total = total + (value / size * torch.randn(value.shape, generator=draw)).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return {
        name: None if p.grad is None else float((p.grad * p.detach()).norm()) for name, p in model.named_parameters()
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_every_parameter_matters(seed: int) -> None:
    found = _sensitivity(build_model(TINY, seed=seed))
    unread = {name for name, value in found.items() if value is None}
    assert unread == {name for name in found if UNREAD.search(name)}
    weak = {n: v for n, v in found.items() if v is not None and v < 1e-4}
    assert set(weak) == {name for name in found if WITHOUT_EFFECT.search(name) and name not in unread}


def test_upstreams_initial_values_would_hide_the_box_head() -> None:
    """What this file protects from: upstream's own random initialisation leaves the last layer of the box head zero."""
    model: Any = build_model(TINY, seed=0)
    with torch.no_grad():
        model.transformer.decoder.bbox_embed.layers[-1].weight.zero_()
    assert _sensitivity(model)["transformer.decoder.bbox_embed.layers.0.weight"] == 0
