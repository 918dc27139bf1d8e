"""Masks of the decoder's queries: cross-attention to the prompt, pixel decoder, product with the queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sam3port.artifact.prompts import only
from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class SegmentationHead(Component):
    """`Sam3Image._run_segmentation_heads` in inference (sam3/model/sam3_image.py:388). All prompts share one image."""

    name: ClassVar[str] = "segmentation_head"
    summary: ClassVar[str] = "masks of the decoder's queries, and of everything that fits the prompt"
    upstream: ClassVar[str] = "UniversalSegmentationHead, sam3/model/maskformer_segmentation.py:222"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (
            *(specs.features(preset, level) for level in range(len(preset.feature_sizes))),
            specs.hs(preset, self.capacity),
            specs.memory(preset, self.capacity),
            *specs.prompt(preset, self.capacity),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, size = self.capacity.prompts, preset.feature_sizes[0]
        return (
            TensorSpec("pred_masks", (batch, preset.num_queries, *size), "float32", "mask logits of each query"),
            TensorSpec(
                "semantic_seg", (batch, 1, *size), "float32", "mask logits of all that fits the prompt together"
            ),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        head: Any = model.segmentation_head

        class Masks(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = head

            def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                *features, hs, memory, prompt, prompt_mask = given
                out = self.head(
                    backbone_feats=features,
                    obj_queries=hs,
                    image_ids=torch.zeros(memory.shape[1], dtype=torch.int64, device=memory.device),
                    encoder_hidden_states=memory,
                    prompt=prompt,
                    prompt_mask=prompt_mask,
                )
                return out["pred_masks"], out["semantic_seg"]

        return Masks()

    def example(self, preset: Preset, seed: int) -> Arrays:
        *features, hs, memory, prompt, mask = self.inputs(preset)
        samples = Samples(seed)
        return {
            **{spec.name: samples.map(spec) for spec in features},
            "hs": samples.normal(hs),
            "memory": samples.normal(memory),
            "prompt": samples.normal(prompt),
            "prompt_mask": samples.prompt_mask(preset, mask.shape, specs.geometry_length(self.capacity)),
        }

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        base = self.example(preset, 1)
        mask = base["prompt_mask"]
        return {
            "no padding": {**base, "prompt_mask": np.zeros_like(mask)},
            "nothing but the CLS token": {**base, "prompt_mask": only(mask, preset.text_context)},
            "features all alike": {
                **base,
                **{name: np.zeros_like(array) for name, array in base.items() if name.startswith("features")},
            },
        }
