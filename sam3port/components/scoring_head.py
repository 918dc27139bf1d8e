"""Scores and boxes of the decoder's queries: dot product with the prompt, box head, presence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class ScoringHead(Component):
    """`Sam3Image._update_scores_and_boxes` in inference, then the product that `Sam3Processor` calls the score
    (sam3/model/sam3_image_processor.py:195). Only the last layer's queries are scored in inference."""

    name: ClassVar[str] = "scoring_head"
    summary: ClassVar[str] = "scores and boxes of the decoder's queries"
    upstream: ClassVar[str] = (
        "DotProductScoring, sam3/model/model_misc.py:37; Sam3Image._update_scores_and_boxes, sam3_image.py:302"
    )

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (
            specs.hs(preset, self.capacity),
            specs.reference_boxes(preset, self.capacity),
            specs.presence_logits(preset, self.capacity),
            *specs.prompt(preset, self.capacity),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, queries = self.capacity.prompts, preset.num_queries
        return (
            TensorSpec("pred_logits", (batch, queries, 1), "float32", "how well each query fits the prompt, -12..12"),
            TensorSpec("pred_boxes", (batch, queries, 4), "float32", "cxcywh, 0..1 of the image"),
            TensorSpec(
                "pred_boxes_xyxy", (batch, queries, 4), "float32", "the same boxes as corners, may leave the image"
            ),
            TensorSpec("presence_logit", (batch, 1), "float32", "of the last layer"),
            TensorSpec("scores", (batch, queries), "float32", "sigmoid(pred_logits) * sigmoid(presence_logit)"),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        from types import SimpleNamespace

        import torch

        image_model: Any = model
        decoder = image_model.transformer.decoder
        if decoder.instance_bbox_embed is not None or image_model.instance_dot_prod_scoring is not None:
            raise NotImplementedError("heads of their own for instance prompts: no SAM 3 image model has them")
        update_scores_and_boxes = type(image_model)._update_scores_and_boxes

        class Head(torch.nn.Module):
            """What upstream's method reads of the model, and no more, so that the state dict is this stage's."""

            use_dot_prod_scoring = image_model.use_dot_prod_scoring
            supervise_joint_box_scores = image_model.supervise_joint_box_scores
            detach_presence_in_joint_score = image_model.detach_presence_in_joint_score

            def __init__(self) -> None:
                super().__init__()
                self.dot_prod_scoring = image_model.dot_prod_scoring
                self.bbox_embed = decoder.bbox_embed
                self.transformer = SimpleNamespace(
                    decoder=SimpleNamespace(dac=decoder.dac, bbox_embed=self.bbox_embed, instance_bbox_embed=None)
                )

            def forward(
                self,
                hs: torch.Tensor,
                reference_boxes: torch.Tensor,
                presence_logits: torch.Tensor,
                prompt: torch.Tensor,
                prompt_mask: torch.Tensor,
            ) -> tuple[torch.Tensor, ...]:
                out: dict[str, torch.Tensor] = {}
                update_scores_and_boxes(
                    self, out, hs, reference_boxes, prompt, prompt_mask, dec_presence_out=presence_logits
                )
                logits, presence = out["pred_logits"], out["presence_logit_dec"]
                scores = (logits.sigmoid() * presence.sigmoid().unsqueeze(1)).squeeze(-1)
                return logits, out["pred_boxes"], out["pred_boxes_xyxy"], presence, scores

        return Head()

    def example(self, preset: Preset, seed: int) -> Arrays:
        hs, boxes, presence, prompt, mask = self.inputs(preset)
        samples = Samples(seed)
        return {
            "hs": samples.normal(hs),
            "reference_boxes": samples.boxes(*boxes.shape[:-1]),
            "presence_logits": samples.normal(presence, 3),
            "prompt": samples.normal(prompt),
            "prompt_mask": samples.prompt_mask(preset, mask.shape, specs.geometry_length(self.capacity)),
        }

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        base = self.example(preset, 1)
        mask = base["prompt_mask"]
        boxes = base["reference_boxes"]
        on_border = np.round(np.linspace(0, 1, boxes.size, dtype=np.float32)).reshape(boxes.shape)
        sure = np.full(base["presence_logits"].shape, 30, np.float32)
        return {
            "no padding": {**base, "prompt_mask": np.zeros_like(mask)},
            "all padding": {**base, "prompt_mask": np.ones_like(mask)},
            "boxes on the border": {**base, "reference_boxes": on_border},
            "boxes without area": {**base, "reference_boxes": np.zeros_like(boxes)},
            "certainly there": {**base, "presence_logits": sure},
            "certainly not there": {**base, "presence_logits": -sure},
            "logits at their limits": {**base, "hs": 100 * base["hs"].astype(np.float32)},
        }
