"""The fusion encoder: image features attend to each other and to the prompt."""

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


class TransformerEncoder(Component):
    """`TransformerEncoderFusion` as `Sam3Image._run_encoder` calls it: sequences with ``feat_sizes``."""

    name: ClassVar[str] = "transformer_encoder"
    summary: ClassVar[str] = "image features that have seen the prompt"
    upstream: ClassVar[str] = "TransformerEncoderFusion, sam3/model/encoder.py:462"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        level = specs.last_level(preset)
        return (
            specs.features(preset, level),
            specs.positions(preset, level),
            *specs.prompt(preset, self.capacity),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (specs.memory(preset, self.capacity),)

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        return _fusion(model, as_maps=False)

    def example(self, preset: Preset, seed: int) -> Arrays:
        features, positions, prompt, mask = self.inputs(preset)
        samples = Samples(seed)
        return {
            features.name: samples.map(features),
            positions.name: sine_positions(*positions.shape[1:]),
            "prompt": samples.normal(prompt),
            "prompt_mask": samples.prompt_mask(preset, mask.shape, specs.geometry_length(self.capacity)),
        }

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        base = self.example(preset, 1)
        features = self.inputs(preset)[0].name
        mask = base["prompt_mask"]
        return {
            "no padding": {**base, "prompt_mask": np.zeros_like(mask)},
            "nothing but the CLS token": {**base, "prompt_mask": only(mask, preset.text_context)},
            "features all alike": {**base, features: np.zeros_like(base[features])},
            "a feature far from all others": {**base, features: _spike(base[features])},
        }


class TransformerEncoderMaps(TransformerEncoder):
    """The same without ``feat_sizes``, which upstream offers and the patch feat_sizes makes work.

    Without the patch, as in the reference, upstream has only the other way: its result is what this one must have.
    """

    name: ClassVar[str] = "transformer_encoder_maps"
    summary: ClassVar[str] = "the fusion encoder, given maps instead of sequences and sizes (patch feat_sizes)"

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        from sam3port.patching import install

        installation = install.current()
        patched = installation is not None and any(p.name == "feat_sizes" for p in installation.plan.patches)
        return _fusion(model, as_maps=patched)


def _fusion(model: torch.nn.Module, *, as_maps: bool) -> torch.nn.Module:
    import torch

    image_model: Any = model
    encoder = image_model.transformer.encoder

    class Fusion(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(
            self, features: torch.Tensor, positions: torch.Tensor, prompt: torch.Tensor, prompt_mask: torch.Tensor
        ) -> tuple[torch.Tensor]:
            batch = prompt.shape[1]
            size = tuple(features.shape[-2:])
            maps = [x.expand(batch, -1, -1, -1) for x in (features, positions)]
            src, src_pos = maps if as_maps else [x.flatten(2).permute(2, 0, 1) for x in maps]
            out = self.encoder(
                src=[src],
                src_pos=[src_pos],
                prompt=prompt,
                prompt_pos=torch.zeros_like(prompt),
                prompt_key_padding_mask=prompt_mask,
                feat_sizes=None if as_maps else [size],
            )
            return (out["memory"],)

    return Fusion()


def _spike(features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found = features.copy()
    found[..., 0, 0] = 20
    return found
