"""The interactive predictor's masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples
from sam3port.errors import UsageError
from sam3port.model.interactive import tracker_of

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class MaskDecoder(Component):
    """`MaskDecoder` as `SAM3InteractiveImagePredictor._predict` calls it (sam3/model/sam1_task_predictor.py:412).

    One run gives both what ``multimask_output=True`` and what ``False`` return; for the latter upstream falls back to
    the best of the three where the single mask is not stable (``dynamic_multimask_via_stability``).

    Upstream has no padding among the points' embeddings. Outside torch.export the module therefore runs it prompt by
    prompt on those that there are, and that is what the proof refers to. In the exported graph every attention to
    these embeddings gets a mask, so that empty places have no part in it.
    """

    name: ClassVar[str] = "mask_decoder"
    summary: ClassVar[str] = "masks, their quality and presence for clicks"
    upstream: ClassVar[str] = "MaskDecoder, sam3/sam/mask_decoder.py:12"
    clicks: ClassVar[bool] = True

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (*specs.tracker(preset), *specs.clicks(preset, self.capacity))

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, several = self.capacity.prompts, preset.num_masks - 1
        size = (preset.mask_size, preset.mask_size)
        score = "0..1" if preset.traits.iou_sigmoid else "about 0..1, not limited to it"
        return (
            TensorSpec("masks", (batch, several, *size), "float32", "logits of the three masks of an ambiguous click"),
            TensorSpec("iou_scores", (batch, several), "float32", f"how good each of masks is, {score}"),
            TensorSpec("single_mask", (batch, 1, *size), "float32", "logits of the one mask of a clear prompt"),
            TensorSpec("single_iou_score", (batch, 1), "float32", f"how good single_mask is, {score}"),
            TensorSpec("mask_tokens", (batch, preset.num_masks, preset.d_model), "float32", "for the object pointer"),
            TensorSpec("object_logit", (batch, 1), "float32", "is there an object at all"),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        class Masks(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.decoder: Any = tracker_of(model).sam_mask_decoder

            def forward(
                self,
                image_embedding: torch.Tensor,
                high_res_0: torch.Tensor,
                high_res_1: torch.Tensor,
                dense_pe: torch.Tensor,
                sparse: torch.Tensor,
                sparse_mask: torch.Tensor,
                dense: torch.Tensor,
            ) -> tuple[torch.Tensor, ...]:
                image = {
                    "image_embeddings": image_embedding,
                    "image_pe": dense_pe,
                    "high_res_features": [high_res_0, high_res_1],
                }
                if torch.compiler.is_exporting():
                    # Ahead of the points: whether there is an object, how good the masks are, the masks.
                    outputs = int(self.decoder.pred_obj_scores) + 1 + self.decoder.num_mask_tokens
                    with masked_keys(sparse_mask, outputs, image_embedding.shape[-2] * image_embedding.shape[-1]):
                        found = self.decoder.predict_masks(
                            sparse_prompt_embeddings=sparse,
                            dense_prompt_embeddings=dense,
                            repeat_image=sparse.shape[0] > 1,
                            **image,
                        )
                else:
                    single = [
                        self.decoder.predict_masks(
                            sparse_prompt_embeddings=sparse[index : index + 1, ~empty],
                            dense_prompt_embeddings=dense[index : index + 1],
                            repeat_image=False,
                            **image,
                        )
                        for index, empty in enumerate(sparse_mask)
                    ]
                    found = [torch.cat(parts) for parts in zip(*single, strict=True)]
                masks, iou, tokens, object_logit = found
                single_mask, single_iou = self.decoder._dynamic_multimask_via_stability(masks, iou)
                return masks[:, 1:], iou[:, 1:], single_mask, single_iou, tokens, object_logit

        return Masks()

    def example(self, preset: Preset, seed: int) -> Arrays:
        samples = Samples(seed)
        mask = self._mask(preset)
        for row in mask:
            row[samples.random.integers(1, mask.shape[1]) : -1] = True
        return self._with_mask(preset, samples, mask)

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        none, one = ~self._mask(preset), ~self._mask(preset)
        one[:, [0, -1]] = False
        full = self._with_mask(preset, Samples(1), self._mask(preset))
        return {
            "no points": self._with_mask(preset, Samples(2), none),
            "one point": self._with_mask(preset, Samples(3), one),
            "at capacity": full,
            "features all alike": {**full, "image_embedding": np.zeros_like(full["image_embedding"])},
        }

    def _mask(self, preset: Preset) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Without padding."""
        _, _, spec, _ = specs.clicks(preset, self.capacity)
        return np.zeros(spec.shape, np.bool_)

    def _with_mask(self, preset: Preset, samples: Samples, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Arrays:
        embedding, fine, middle, pe, sparse, _, dense = self.inputs(preset)
        return {
            embedding.name: samples.map(embedding, 1.0),
            fine.name: samples.map(fine),
            middle.name: samples.map(middle),
            pe.name: _fourier_positions(samples, pe),
            sparse.name: np.where(mask[..., None], np.float32(0), samples.normal(sparse, 1.2)),
            "sparse_mask": mask,
            dense.name: samples.map(dense, 0.8),
        }


def masked_keys(padding: torch.Tensor, outputs: int, image_tokens: int) -> Any:
    """Inside, `sam.transformer.Attention` does not see the keys that are padding.

    Its attention takes no mask (sam3/sam/transformer.py:258). Keys are either the image's tokens, of which none is
    padding, or the output tokens followed by the points' embeddings; their number tells which.

    Args:
        padding: bool (prompts, points), true for padding.
        outputs: how many output tokens stand ahead of the points.
        image_tokens: how many tokens the image has.

    Raises:
        UsageError: the numbers do not tell them apart.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from torch.overrides import TorchFunctionMode

    tokens = outputs + padding.shape[1]
    if tokens == image_tokens:
        raise UsageError(
            f"{padding.shape[1]} points make as many tokens as the image has ({tokens})",
            "build with another capacity of points",
        )

    class Masked(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if func is scaled_dot_product_attention and args[1].shape[-2] == tokens:
                taking_part = torch.nn.functional.pad(~padding, (outputs, 0), value=True)
                kwargs["attn_mask"] = taking_part[:, None, None, :]
            return func(*args, **kwargs)

    return Masked()


def _fourier_positions(samples: Samples, spec: TensorSpec) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Sines and cosines of random frequencies, as `PositionEmbeddingRandom` makes them (prompt_encoder.py:214)."""
    _, channels, height, width = spec.shape
    y, x = (np.mgrid[0:height, 0:width] + 0.5) / np.array([height, width]).reshape(2, 1, 1)
    frequencies = samples.random.standard_normal((2, channels // 2))
    angles = 2 * np.pi * np.tensordot(frequencies, np.stack([2 * x - 1, 2 * y - 1]), (0, 0))
    return np.concatenate([np.sin(angles), np.cos(angles)])[None].astype(np.float32)
