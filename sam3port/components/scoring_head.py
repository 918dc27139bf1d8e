"""Scores and boxes of the decoder's queries: dot product scoring, the box head and the presence logit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sam3port.components.component import Arrays, Component, TensorSpec

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class ScoringHead(Component):
    """`Sam3Image._update_scores_and_boxes` in inference (sam3/model/sam3_image.py:302), for the last layer's queries."""

    name: ClassVar[str] = "scoring_head"
    summary: ClassVar[str] = "scores and boxes of the decoder's queries"
    upstream: ClassVar[str] = "DotProductScoring, sam3/model/model_misc.py:37"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, length = self.capacity.prompts, self._prompt_length(preset)
        layers, queries, channels = preset.decoder_layers, preset.num_queries, preset.d_model
        return (
            TensorSpec("hs", (layers, batch, queries, channels), "float32", "queries after each layer, normalised"),
            TensorSpec(
                "reference_boxes", (layers, batch, queries, 4), "float32", "boxes before refinement, cxcywh in 0..1"
            ),
            TensorSpec("prompt", (length, batch, channels), "float32", "text and geometry tokens, sequence first"),
            TensorSpec("prompt_mask", (batch, length), "bool", "true where the prompt is padding"),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, queries, layers = self.capacity.prompts, preset.num_queries, preset.decoder_layers
        return (
            TensorSpec("logits", (layers, batch, queries, 1), "float32", "score of each query, -12..12"),
            TensorSpec("boxes", (layers, batch, queries, 4), "float32", "refined boxes, cxcywh in 0..1"),
            TensorSpec("boxes_xyxy", (layers, batch, queries, 4), "float32", "the same boxes as corners"),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch
        from sam3.model.box_ops import box_cxcywh_to_xyxy
        from sam3.model.model_misc import inverse_sigmoid

        class Head(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scoring = model.dot_prod_scoring
                self.boxes = model.transformer.decoder.bbox_embed

            def forward(
                self, hs: torch.Tensor, reference: torch.Tensor, prompt: torch.Tensor, mask: torch.Tensor
            ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
                logits = self.scoring(hs, prompt, mask)
                boxes = (inverse_sigmoid(reference) + self.boxes(hs)).sigmoid()
                return logits, boxes, box_cxcywh_to_xyxy(boxes)

        return Head()

    def example(self, preset: Preset, seed: int) -> Arrays:
        random = np.random.default_rng(seed)
        specs = {spec.name: spec for spec in self.inputs(preset)}
        mask = np.zeros(specs["prompt_mask"].shape, np.bool_)
        mask[:, preset.text_context // 2 : preset.text_context] = True
        return {
            "hs": random.standard_normal(specs["hs"].shape, np.float32),
            "reference_boxes": random.uniform(0, 1, specs["reference_boxes"].shape).astype(np.float32),
            "prompt": random.standard_normal(specs["prompt"].shape, np.float32),
            "prompt_mask": mask,
        }

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        base = self.example(preset, 0)
        shape = base["prompt_mask"].shape
        ends = np.linspace(0, 1, base["reference_boxes"].size, dtype=np.float32)
        return {
            "no padding": {**base, "prompt_mask": np.zeros(shape, np.bool_)},
            "all padding": {**base, "prompt_mask": np.ones(shape, np.bool_)},
            "boxes on the border": {
                **base,
                "reference_boxes": np.round(ends).reshape(base["reference_boxes"].shape),
            },
        }

    def _prompt_length(self, preset: Preset) -> int:
        """Text tokens, then points, boxes and the CLS token."""
        return preset.text_context + self.capacity.points + self.capacity.boxes + 1
