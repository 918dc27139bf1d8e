"""The decoder: queries find objects in the encoder's memory, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sam3port.artifact.prompts import only
from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples, sine_positions

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class TransformerDecoder(Component):
    """`TransformerDecoder` as `Sam3Image._run_decoder` calls it in inference (sam3/model/sam3_image.py:254)."""

    name: ClassVar[str] = "transformer_decoder"
    summary: ClassVar[str] = "queries with boxes and presence, after every layer"
    upstream: ClassVar[str] = "TransformerDecoder, sam3/model/decoder.py:190"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (
            specs.memory(preset, self.capacity),
            specs.positions(preset, specs.last_level(preset)),
            *specs.prompt(preset, self.capacity),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (
            specs.hs(preset, self.capacity),
            specs.reference_boxes(preset, self.capacity),
            specs.presence_logits(preset, self.capacity),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        image_model: Any = model
        decoder = image_model.transformer.decoder

        class Decoding(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.decoder = decoder

            def forward(
                self, memory: torch.Tensor, positions: torch.Tensor, prompt: torch.Tensor, prompt_mask: torch.Tensor
            ) -> tuple[torch.Tensor, ...]:
                batch = memory.shape[1]
                size = torch.tensor([positions.shape[-2:]], dtype=torch.int64, device=memory.device)
                hs, boxes, presence, _ = self.decoder(
                    tgt=self.decoder.query_embed.weight.unsqueeze(1).repeat(1, batch, 1),
                    memory=memory,
                    memory_key_padding_mask=None,
                    pos=positions.flatten(2).permute(2, 0, 1).expand(-1, batch, -1),
                    reference_boxes=None,
                    level_start_index=None,  # read by deformable attention only
                    spatial_shapes=size,
                    valid_ratios=memory.new_ones(batch, 1, 2),
                    tgt_mask=None,
                    memory_text=prompt,
                    text_attention_mask=prompt_mask,
                    apply_dac=False,
                )
                # Sequence first to batch first, as _run_decoder does.
                return tuple(x.transpose(1, 2) for x in (hs, boxes, presence))

        return Decoding()

    def example(self, preset: Preset, seed: int) -> Arrays:
        memory, positions, prompt, mask = self.inputs(preset)
        samples = Samples(seed)
        return {
            "memory": samples.normal(memory),
            positions.name: sine_positions(*positions.shape[1:]),
            "prompt": samples.normal(prompt),
            "prompt_mask": samples.prompt_mask(preset, mask.shape, specs.geometry_length(self.capacity)),
        }

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        base = self.example(preset, 1)
        mask, memory = base["prompt_mask"], base["memory"]
        far = memory.copy()
        far[0] = 20
        return {
            "no padding": {**base, "prompt_mask": np.zeros_like(mask)},
            "nothing but the CLS token": {**base, "prompt_mask": only(mask, preset.text_context)},
            "memory all alike": {**base, "memory": np.zeros_like(memory)},
            "a memory far from all others": {**base, "memory": far},
        }
