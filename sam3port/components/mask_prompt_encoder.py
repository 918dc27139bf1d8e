"""The geometry encoder's third kind of prompt: a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset

SEED: Final = 0
"""Of the mask encoder's weights."""


class MaskPromptEncoder(Component):
    """`SequenceGeometryEncoder` given a mask and neither points nor boxes: what its forward returns then.

    The image model that upstream builds has no mask encoder, and its checkpoint no weights for one. So one is
    configured as the class allows, from upstream's classes: a `FusedMaskEncoder` with the settings of the only mask
    encoder that upstream does build, the tracker's (model_builder.py:330). Its weights come from a fixed seed.
    """

    name: ClassVar[str] = "mask_prompt_encoder"
    summary: ClassVar[str] = "a mask to tokens of the prompt (upstream's class; its image model has none)"
    upstream: ClassVar[str] = "SequenceGeometryEncoder._encode_masks, sam3/model/geometry_encoders.py:694"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, side = self.capacity.prompts, preset.mask_size
        return (
            specs.features(preset, specs.last_level(preset)),
            TensorSpec("mask_prompts", (1, batch, 1, side, side), "float32", "0..1, the size of a predicted mask"),
            TensorSpec("mask_labels", (1, batch), "int64", "1 for what is wanted, 0 for what is not"),
            TensorSpec("mask_mask", (batch, 1), "bool", "true where mask_prompts is padding"),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, length = self.capacity.prompts, preset.grid**2
        return (
            TensorSpec(
                "mask_features", (length, batch, preset.d_model), "float32", "one for each patch, sequence first"
            ),
            TensorSpec("mask_features_mask", (batch, length), "bool", "true where mask_features is padding"),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch
        from sam3.model.geometry_encoders import SequenceGeometryEncoder

        image_model: Any = model

        class Masks(torch.nn.Module):
            """What upstream's method reads of the geometry encoder, and a mask encoder."""

            add_mask_label = True

            def __init__(self) -> None:
                super().__init__()
                self.img_pre_norm = image_model.geometry_encoder.img_pre_norm
                seeded = configure(preset)
                self.mask_encoder = seeded.mask_encoder
                self.mask_label_embed = seeded.mask_label_embed

            def forward(
                self, features: torch.Tensor, masks: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor
            ) -> tuple[torch.Tensor, torch.Tensor]:
                batch = masks.shape[1]
                # The preparation of the image in upstream's forward, lines 746 to 756.
                image = self.img_pre_norm(features.flatten(2).permute(2, 0, 1).expand(-1, batch, -1))
                image = image.permute(1, 2, 0).view(batch, -1, *features.shape[-2:])
                encoded, padding = SequenceGeometryEncoder._encode_masks(
                    self, masks=masks, attn_mask=mask, mask_labels=labels, img_feats=image
                )
                return encoded, padding

        return Masks()

    def example(self, preset: Preset, seed: int) -> Arrays:
        features, masks, labels, mask = self.inputs(preset)
        samples = Samples(seed)
        return {
            features.name: samples.map(features),
            "mask_prompts": samples.masks(masks.shape),
            "mask_labels": samples.random.integers(0, 2, labels.shape),
            "mask_mask": np.zeros(mask.shape, np.bool_),
        }

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        base = self.example(preset, 1)
        masks = base["mask_prompts"]
        pixel = np.zeros_like(masks)
        pixel[..., -1, -1] = 1
        return {
            "nothing in the mask": {**base, "mask_prompts": np.zeros_like(masks)},
            "all in the mask": {**base, "mask_prompts": np.ones_like(masks)},
            "one pixel in the corner": {**base, "mask_prompts": pixel},
            "all padding": {**base, "mask_mask": np.ones_like(base["mask_mask"])},
        }


def configure(preset: Preset) -> torch.nn.ModuleDict:
    """``mask_encoder`` and ``mask_label_embed`` as upstream's constructor takes and makes them, with seeded weights."""
    import torch
    from sam3.model.geometry_encoders import FusedMaskEncoder
    from sam3.model.memory import CXBlock, SimpleFuser, SimpleMaskDownSampler
    from sam3.model.position_encoding import PositionEmbeddingSine

    from sam3port.model.weights import seed_weights

    channels, side = preset.d_model, preset.grid * 16
    positions = PositionEmbeddingSine(num_pos_feats=channels, normalize=True, scale=None, temperature=10000)
    positions(torch.zeros(1, 1, preset.grid, preset.grid))  # remembered: see the neck in vision_backbone.py
    encoder = FusedMaskEncoder(
        mask_downsampler=SimpleMaskDownSampler(
            embed_dim=channels, kernel_size=3, stride=2, padding=1, interpol_size=[side, side]
        ),
        position_encoding=positions,
        fuser=SimpleFuser(
            layer=CXBlock(dim=channels, kernel_size=7, padding=3, layer_scale_init_value=1e-6, use_dwconv=True),
            num_layers=2,
        ),
        in_dim=channels,
        out_dim=channels,
    )
    made = torch.nn.ModuleDict({"mask_encoder": encoder, "mask_label_embed": torch.nn.Embedding(2, channels)})
    seed_weights(made, SEED)
    return made.eval().requires_grad_(False)
