"""The text encoder, after tokenisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples, write_text

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class TextEncoder(Component):
    """`VETextEncoder.forward` with the tokens that its tokeniser would have made."""

    name: ClassVar[str] = "text_encoder"
    summary: ClassVar[str] = "tokens to text features"
    upstream: ClassVar[str] = "VETextEncoder, sam3/model/text_encoder_ve.py:253"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (specs.tokens(preset, self.capacity),)

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        shape = (preset.text_context, self.capacity.prompts, preset.text_width)
        meaning = "the tokens' embeddings before the transformer, sequence first"
        return (*specs.text(preset, self.capacity), TensorSpec("text_embeddings", shape, "float32", meaning))

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        image_model: Any = model
        whole = image_model.backbone.language_backbone
        upstream_forward = type(whole).forward

        class Tokenised(list[str]):
            """Passes as upstream's list of texts, and carries their tokens to what stands in for the tokeniser."""

            def __init__(self, tokens: torch.Tensor) -> None:
                super().__init__([""])
                self.tokens = tokens

        class Text(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder = whole.encoder
                self.resizer = whole.resizer
                self.context_length = whole.context_length

            def tokenizer(self, text: Tokenised, context_length: int) -> torch.Tensor:
                return text.tokens

            def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
                mask, features, embeddings = upstream_forward(self, Tokenised(tokens), device=tokens.device)
                return features, mask, embeddings

        return Text()

    def example(self, preset: Preset, seed: int) -> Arrays:
        return {"tokens": Samples(seed).tokens(specs.tokens(preset, self.capacity), preset.text_vocab)}

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        spec = specs.tokens(preset, self.capacity)

        def every_row(words: list[int]) -> Arrays:
            tokens = np.zeros(spec.shape, np.int64)
            for row in tokens:
                write_text(row, words, preset.text_vocab)
            return {"tokens": tokens}

        return {
            "empty text": every_row([]),
            "one word": every_row([320]),
            "as long as fits": every_row(list(range(1000, 1000 + preset.text_context - 2))),
            "cut off": every_row(list(range(1000, 1000 + 2 * preset.text_context))),
            "first and last word of the vocabulary": every_row([1, preset.text_vocab - 3]),
            "padding of the batch": {"tokens": np.zeros(spec.shape, np.int64)},
        }
