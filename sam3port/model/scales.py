"""How large the seeded weights of each kind of layer are.

The aim is a model that computes like a trained one: activations of order one in every block, attention that picks a few
of many keys, boxes, scores and masks that vary and saturate nowhere, and no branch that a zero or a tiny gain hides
(upstream initialises the box head with zeros and the ConvNeXt blocks with a gain of 1e-6). The numbers were set by
measuring both presets; `tests/model/test_weights.py` measures them again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

Draw = Callable[[int], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Scale:
    """The distribution of one tensor: ``mean + std * u`` with u of variance 1."""

    std: float
    mean: float | tuple[float, ...] = 0.0
    """One value, or one for each column."""
    parts: tuple[float, ...] = (1.0,)
    """Factors of equal parts of the rows: queries, keys and values in one matrix."""
    common: float = 0.0
    """The share of the variance that all positions of a convolution's kernel have in common: spatially smooth features
    stay smooth, as in a trained model."""

    opposed: bool = False
    """The second half of the inputs gets the weights of the first with the opposite sign. What all inputs have in
    common, like the mean of a ReLU, then drops out instead of deciding every output."""

    def apply(self, values: NDArray[np.float32], draw: Draw) -> None:
        """Turns numbers of variance 1 into the weights, in place.

        Args:
            values: shaped as the tensor.
            draw: more numbers of variance 1, for what the positions of a kernel share.
        """
        if self.common:
            shared = draw(values.shape[0] * values.shape[1]).reshape(*values.shape[:2], 1, 1)
            values *= np.float32(math.sqrt(1 - self.common))
            values += np.float32(math.sqrt(self.common)) * shared
        if self.opposed:
            half = values.shape[1] // 2
            values[:, half : 2 * half] = -values[:, :half]
        values *= np.float32(self.std)
        if len(self.parts) > 1:
            for part, factor in zip(np.split(values, len(self.parts)), self.parts, strict=True):
                part *= np.float32(factor)
        if self.mean:
            values += np.asarray(self.mean, dtype=np.float32)


_SHARP: Final = 1.9
"""Gain of queries and of keys that come out of a LayerNorm: logits with a standard deviation of 2 to 3."""
_SHARP_RAW: Final = 1.2
"""The same where keys are features without a LayerNorm, or position encodings are added: they are larger than 1."""
_RAW: Final = re.compile(r"geometry_encoder\.encode\.\d+\.cross|decoder\.layers\.\d+\.|sam_mask_decoder\.")

_RECTIFIED: Final = re.compile(
    r"(\.mlp\.fc2|\.mlp\.c_proj|\.linear2|\.lin2|\.pwconv2|instance_seg_head|\.layers\.[1-9])$"
)
"""Layers behind a ReLU or GELU, whose outputs have a mean that would make all tokens alike in time."""

_GAINS: Final[tuple[tuple[str, float], ...]] = (
    (r"patch_embed\.proj$", 3.0),
    # What a block adds to its input. All blocks together stay within a few times the first.
    (r"trunk\.blocks\.\d+\.(attn\.proj|mlp\.fc2)$", 0.5),
    (r"resblocks\.\d+\.(attn\.out_proj|mlp\.c_proj)$", 0.5),
    (r"encoder\.layers\.\d+\.(\w+\.out_proj|linear2)$", 0.5),
    (r"vision_backbone\.\w+\.\d+\.conv_1x1$", 0.6),
    # The decoder normalises after every addition: larger ones would make all queries alike within a few layers.
    (r"decoder\.layers\.\d+\.self_attn\.out_proj$", 0.3),
    (r"decoder\.layers\.\d+\.ca_text\.out_proj$", 0.2),
    (r"decoder\.layers\.\d+\.cross_attn\.out_proj$", 0.15),
    (r"decoder\.layers\.\d+\.linear2$", 0.5),
    (r"bbox_embed\.layers\.2$", 0.7),
    (r"boxRPB_embed_[xy]\.layers\.0$", 1.5),
    (r"boxRPB_embed_[xy]\.layers\.1$", 2.0),
    (r"dot_prod_scoring\.prompt_proj$", 2.5),
    (r"mask_predictor\.mask_embed\.layers\.2$", 2.5),
    (r"iou_prediction_head\.layers\.2$", 2.0),
    (r"output_hypernetworks_mlps\.\d+\.layers\.2$", 3.0),
)
"""Gains of layers by name: the standard deviation of the output for an input of 1. All others have 1."""

_EMBEDDINGS: Final[tuple[tuple[str, Scale], ...]] = (
    # Centres all over the image, sizes around a quarter of it; before the sigmoid.
    (r"reference_points$", Scale(std=1.0, mean=(0.0, 0.0, -1.0, -1.0))),
    (r"trunk\.pos_embed$", Scale(std=0.5)),
    (r"positional_embedding$", Scale(std=0.5)),
)


def scale_of(module: nn.Module, path: str, parameter: str) -> Scale | None:
    """The distribution of a parameter or buffer, None for a buffer that is computed and must stay.

    Args:
        module: the layer that owns it.
        path: the layer's dotted name.
        parameter: the name in the layer, ``weight``.
    """
    from torch import nn

    if parameter == "freqs_cis":
        return None
    tensor = getattr(module, parameter)
    gain = next((value for pattern, value in _GAINS if re.search(pattern, path)), 1.0)
    sharp = _SHARP_RAW if _RAW.search(path) else _SHARP
    # Queries, keys and values are one matrix in nn.MultiheadAttention and in the ViT, three in sam/transformer.py.
    if parameter == "in_proj_weight" or (path.endswith("attn.qkv") and parameter == "weight"):
        return Scale(std=1 / math.sqrt(tensor.shape[1]), parts=(sharp, sharp, 1.0))
    if path.endswith((".q_proj", ".k_proj")):
        gain = sharp
    if parameter.endswith("bias"):
        return Scale(std=0.05, mean=1.5 if path.endswith("presence_token_head.layers.2") else 0.0)
    if parameter == "weight" and isinstance(module, nn.Linear):
        return Scale(std=gain / math.sqrt(module.in_features), opposed=_RECTIFIED.search(path) is not None)
    if parameter == "weight" and isinstance(module, nn.ConvTranspose2d):
        # The strides are the kernel's size: every output comes from one position of the kernel.
        return Scale(std=gain / math.sqrt(module.in_channels), common=0.95)
    if parameter == "weight" and isinstance(module, nn.Conv2d):
        return _convolution(module, path, gain)
    if parameter == "weight" and tensor.ndim == 1:  # LayerNorm, GroupNorm and upstream's two LayerNorm2d
        return Scale(std=0.15, mean=1.0)
    if parameter == "gamma":  # the gain of a residual branch, upstream's 1e-6
        return Scale(std=0.1, mean=0.5)
    name = path if parameter == "weight" else f"{path}.{parameter}"
    return next((scale for pattern, scale in _EMBEDDINGS if re.search(pattern, name)), Scale(std=1.0))


def _convolution(layer: nn.Conv2d, path: str, gain: float) -> Scale:
    """For an input that is smooth over the kernel, so that its positions add up."""
    positions = math.prod(layer.kernel_size)
    channels = layer.in_channels // layer.groups
    common = 0.3 if 1 < positions <= 49 else 0.0
    effective = positions**2 * common + positions * (1 - common)
    std = gain / math.sqrt(channels * effective)
    return Scale(std=std, common=common, opposed=_RECTIFIED.search(path) is not None)
