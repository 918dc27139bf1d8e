"""The part of upstream's model that answers clicks, and that nothing else uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sam3port.model.interactive import tracker_of

_NECK = "backbone.vision_backbone.sam2_convs"
_TRACKER = "inst_interactive_predictor.model"
PLACES = f"{_TRACKER}.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
"""(2, d_model / 2): how fast each pair of channels of a position's encoding turns. Random and not learned, but what was
learned depends on it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the decoder reads of n images."""

    fine: Tensor
    """(n, d_model / 8, 4g, 4g), where g is the side of the grid of patches."""
    middle: Tensor
    """(n, d_model / 4, 2g, 2g)."""
    coarse: Tensor
    """(n, d_model, g, g)."""


class ClickPath:
    """The second neck, the prompt encoder and the mask decoder of an image model, which go on living in that model."""

    def __init__(self, model: Any) -> None:
        """
        Args:
            model: upstream's image model with the interactive predictor.
        """
        self.model = model
        self._tracker = tracker_of(model)
        self.decoder, self.encoder = self._tracker.sam_mask_decoder, self._tracker.sam_prompt_encoder
        self._neck = model.backbone.vision_backbone

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What clicks alone use: by name in the model."""
        used = (f"{_TRACKER}.sam_", f"{_TRACKER}.no_mem_embed", *(f"{_NECK}.{level}." for level in range(3)))
        return ((name, value) for name, value in self.model.named_parameters() if name.startswith(used))

    @torch.no_grad()
    def trunk(self, images: Tensor) -> Tensor:
        """(n, width, g, g): what the ViT says about images (n, 3, side, side)."""
        features: Tensor = self._neck.trunk(images)[-1]
        return features

    def neck(self, trunk: Tensor) -> list[Tensor]:
        """The pyramid for clicks, finest first, each (n, d_model, ...)."""
        return [convolutions(trunk) for convolutions in self._neck.sam2_convs[:3]]

    def see(self, pyramid: list[Tensor]) -> Seen:
        """As `Sam3Image` and its predictor prepare the pyramid's first three levels."""
        return Seen(
            fine=self.decoder.conv_s0(pyramid[0]),
            middle=self.decoder.conv_s1(pyramid[1]),
            coarse=pyramid[2] + self._tracker.no_mem_embed.view(1, -1, 1, 1),
        )

    def answer(
        self, seen: Seen, which: Tensor, points: Tensor, labels: Tensor, earlier: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            seen: n images.
            which: (c,): on which of them each click is.
            points: (c, p, 2) x, y in pixels.
            labels: (c, p): 1, 0; 2 and 3 for a box's corners; -1 for no point.
            earlier: (c, 1, side, side) logits of a mask that is to be corrected.

        Returns:
            logits of masks (c, 4, side, side); how good they are said to be (c, 4), 0..1; whether there is an object
            (c, 1), logits.
        """
        sparse, dense = self.encoder(points=(points, labels), boxes=None, masks=earlier)
        masks, ious, _, there = self.decoder.predict_masks(
            image_embeddings=seen.coarse[which],
            image_pe=self.encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=[seen.fine[which], seen.middle[which]],
        )
        return masks, ious, there

    @torch.no_grad()
    def begin(self, seed: int, spread: float, gain: float, rest: float) -> None:
        """New weights of the prompt encoder and the decoder: near places attend to each other from the first step on.

        With upstream's own initial weights, a head of the tiny model has four random combinations of a position's
        encoding, by which no place is told from another; the decoder then learns to answer the same wherever the click
        is, and stays there. Here each head compares two frequencies, the sine and cosine of both places: their product
        is the cosine of the distance, so highest where both are the same place.

        Args:
            seed: of all that is random.
            spread: the standard deviation of the frequencies; upstream's is 1. With a half, what a click marks
                first is about as large as an object.
            gain: of the compared channels, in queries and in keys.
            rest: how much of torch's own initial weights is left in the layers that compare.
        """
        torch.manual_seed(seed)
        for part in (self.decoder, self.encoder):
            for module in part.modules():
                if isinstance(module, nn.Embedding):
                    nn.init.normal_(module.weight, std=0.5)
                elif hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        frequencies = self.model.get_buffer(PLACES)
        frequencies.copy_(spread * torch.randn(frequencies.shape))
        transformer = self.decoder.transformer
        for number, layer in enumerate(transformer.layers):
            for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token):
                _compare_places(attention, number, gain, rest)
        _compare_places(transformer.final_attn_token_to_image, len(transformer.layers), gain, rest)


def _compare_places(attention: Any, turn: int, gain: float, rest: float) -> None:
    """Each head gets some frequencies; another ``turn``, the next ones."""
    count = attention.embedding_dim // 2
    held = attention.internal_dim // 2
    chosen = (torch.arange(held) + turn * held) % count
    compared = torch.zeros_like(attention.q_proj.weight)
    # The encoding has all sines first, then all cosines; a head's channels lie together.
    rows = torch.arange(held) * 2
    compared[rows, chosen] = gain
    compared[rows + 1, count + chosen] = gain
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.mul_(rest).add_(compared)
        projection.bias.zero_()
