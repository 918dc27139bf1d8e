"""The image path of the detector: ViT and feature pyramid."""

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


class VisionBackbone(Component):
    """`Sam3DualViTDetNeck` without the tracker's second neck, which `image_encoder` has.

    All levels that the neck computes come out; upstream's `SAM3VLBackbone` then drops the last one (``scalp=1``).
    """

    name: ClassVar[str] = "vision_backbone"
    summary: ClassVar[str] = "image to a pyramid of features (ViT and neck)"
    upstream: ClassVar[str] = (
        "SAM3VLBackbone.forward_image, sam3/model/vl_combiner.py:78; Sam3DualViTDetNeck, necks.py:13"
    )

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (specs.image(preset),)

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        levels = range(len(preset.scale_factors))
        return (
            *(specs.features(preset, level) for level in levels),
            *(specs.positions(preset, level) for level in levels),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        class Backbone(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.neck = neck(model, preset, second=False)

            def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
                features, positions, _, _ = self.neck(image)
                return (*features, *positions)

        return Backbone()

    def example(self, preset: Preset, seed: int) -> Arrays:
        return {"image": Samples(seed).image(specs.image(preset))}

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        return image_edges(preset)


def neck(model: torch.nn.Module, preset: Preset, *, second: bool) -> torch.nn.Module:
    """The neck's parts, with or without the tracker's, on which upstream's own forward runs."""
    import torch

    image_model: Any = model
    whole = image_model.backbone.vision_backbone
    upstream_forward = type(whole).forward
    encoding = whole.position_encoding
    # Upstream remembers position encodings by size, and fills that cache while it builds, but for other sizes
    # (position_encoding.py:36). Filled during torch.export, it would keep traced tensors.
    device = next(whole.parameters()).device
    for size in preset.pyramid_sizes:
        encoding(torch.zeros(1, 1, *size, device=device))

    class Neck(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = whole.trunk
            self.convs = whole.convs
            self.position_encoding = encoding
            self.sam2_convs = whole.sam2_convs if second else None

        def forward(self, image: torch.Tensor) -> Any:
            return upstream_forward(self, image)

    return Neck()


def image_edges(preset: Preset) -> Mapping[str, Arrays]:
    """Images at the edges of what a camera or a user gives."""
    shape = specs.image(preset).shape
    y, x = np.indices(shape[2:])
    checks = np.where((y + x) % 2, 1, -1).astype(np.float32)
    point = np.full(shape, -1, np.float32)
    point[..., -1, -1] = 1
    return {
        "black": {"image": np.full(shape, -1, np.float32)},
        "white": {"image": np.full(shape, 1, np.float32)},
        "checkerboard of single pixels": {"image": np.broadcast_to(checks, shape).copy()},
        "one bright pixel in the corner": {"image": point},
    }
