"""One forward pass of everything the image model has, through upstream's own processor and predictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut
from torch import Tensor

from sam3port.model.preset import Preset


def run(model: Any, preset: Preset, text: str = "a person", photo: Any = None) -> dict[str, Tensor]:
    """Grounds a photograph with text, a point, a positive and a negative box; then one click, three masks.

    Returns:
        Upstream's outputs: pred_logits, pred_boxes, pred_masks, presence, semantic, features of both necks,
        click_masks (logits), click_scores, memory (the tracker's encoding of the first of those masks).
    """
    from sam3.model.geometry_encoders import Prompt
    from sam3.model.sam3_image_processor import Sam3Processor

    processor = Sam3Processor(model, resolution=preset.image_size, device="cpu")
    with torch.inference_mode():
        state = processor.set_image(Image.fromarray(astronaut() if photo is None else photo))  # type: ignore[no-untyped-call]
        features = state["backbone_out"]
        features.update(model.backbone.forward_text([text], device="cpu"))
        prompt = Prompt(
            box_embeddings=torch.tensor([[[0.5, 0.5, 0.3, 0.4]], [[0.2, 0.3, 0.1, 0.1]]]),
            box_labels=torch.tensor([[1], [0]]),
            point_embeddings=torch.tensor([[[0.4, 0.6]]]),
            point_labels=torch.tensor([[1]]),
        )
        out = model.forward_grounding(
            backbone_out=features, find_input=processor.find_stage, geometric_prompt=prompt, find_target=None
        )
        seen = {name: out[name] for name in ("pred_logits", "pred_boxes", "pred_masks", "queries")}
        seen |= {
            "presence": out["presence_logit_dec"],
            "semantic": out["semantic_seg"],
            "prompt": out["encoder_hidden_states"],
        }
        seen |= {f"features_{i}": level for i, level in enumerate(features["backbone_fpn"])}
        if model.inst_interactive_predictor is not None:
            _, scores, low = model.predict_inst(
                state, point_coords=np.array([[200, 200]]), point_labels=np.array([1]), multimask_output=True
            )
            neck = features["sam2_backbone_out"]["backbone_fpn"]
            seen |= {f"neck_{i}": level for i, level in enumerate(neck)}
            seen |= {"click_masks": torch.as_tensor(low), "click_scores": torch.as_tensor(scores)}
            tracker = model.inst_interactive_predictor.model
            memory = tracker.maskmem_backbone(neck[-1], seen["click_masks"][None, :1])
            seen["memory"] = memory["vision_features"]
    return seen
