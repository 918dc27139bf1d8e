"""The interactive predictor's prompts: clicks, a box and a mask of an earlier result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sam3port.artifact.prompts import Clicks, click_length, pad_clicks
from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Floats, Samples
from sam3port.model.interactive import tracker_of

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class PromptEncoder(Component):
    """`PromptEncoder` as `SAM3InteractiveImagePredictor._predict` calls it (sam3/model/sam1_task_predictor.py:398).

    Upstream has no padding: it encodes the points that there are and appends one "not a point". So does the module
    outside torch.export, prompt by prompt, and that is what the proof refers to. The exported graph has a place for
    every point of the capacity, and ``sparse_mask`` says which are empty; those are zeros on both sides.
    """

    name: ClassVar[str] = "prompt_encoder"
    summary: ClassVar[str] = "clicks, a box and a mask to embeddings"
    upstream: ClassVar[str] = "PromptEncoder, sam3/sam/prompt_encoder.py:12"
    clicks: ClassVar[bool] = True

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        batch, length, side = self.capacity.prompts, click_length(self.capacity), preset.mask_size
        return (
            TensorSpec("clicks", (batch, length, 2), "float32", "x, y in pixels of the model's square image"),
            TensorSpec(
                "click_labels",
                (batch, length),
                "int64",
                "1 object, 0 background, 2 and 3 the first and second corner of a box, -1 not a point",
            ),
            TensorSpec("click_mask", (batch, length), "bool", "true where clicks is padding"),
            TensorSpec("mask_input", (batch, 1, side, side), "float32", "mask logits of an earlier result, -32..32"),
            TensorSpec("has_mask_input", (batch,), "bool", "false: there is no mask, whatever mask_input holds"),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return specs.clicks(preset, self.capacity)

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        class Prompts(torch.nn.Module):
            dense_pe: torch.Tensor

            def __init__(self) -> None:
                super().__init__()
                self.encoder: Any = tracker_of(model).sam_prompt_encoder
                # A constant of the exported graph instead of sines and cosines at every click.
                self.register_buffer("dense_pe", self.encoder.get_dense_pe(), persistent=False)

            def forward(
                self,
                points: torch.Tensor,
                labels: torch.Tensor,
                point_mask: torch.Tensor,
                mask: torch.Tensor,
                has_mask: torch.Tensor,
            ) -> tuple[torch.Tensor, ...]:
                # Upstream appends "not a point" when there is any point.
                padding = torch.cat([point_mask, point_mask.all(1, keepdim=True)], 1)
                if not torch.compiler.is_exporting():
                    sparse, dense = self.one_by_one(points, labels, padding, mask, has_mask)
                    return self.encoder.get_dense_pe(), sparse, padding, dense
                sparse, dense = self.encoder(points=(points, labels), boxes=None, masks=mask)
                sparse = torch.where(padding[..., None], torch.zeros_like(sparse), sparse)
                no_mask = self.encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
                dense = torch.where(has_mask[:, None, None, None], dense, no_mask)
                # + 0: an output that is a constant itself has no place in an exported graph's signature.
                return self.dense_pe + 0, sparse, padding, dense

            def one_by_one(
                self,
                points: torch.Tensor,
                labels: torch.Tensor,
                padding: torch.Tensor,
                mask: torch.Tensor,
                has_mask: torch.Tensor,
            ) -> tuple[torch.Tensor, torch.Tensor]:
                """Upstream without padding; zeros where there is padding."""
                sparse = points.new_zeros(*padding.shape, self.encoder.embed_dim)
                dense = []
                for index, empty in enumerate(padding):
                    given = ~empty[:-1]
                    clicks = (points[index : index + 1, given], labels[index : index + 1, given])
                    encoded, image = self.encoder(
                        points=clicks if given.any() else None,
                        boxes=None,
                        masks=mask[index : index + 1] if has_mask[index] else None,
                    )
                    sparse[index, ~empty] = encoded[0]
                    dense.append(image)
                return sparse, torch.cat(dense)

        return Prompts()

    def example(self, preset: Preset, seed: int) -> Arrays:
        """Some clicks for every prompt; for every other one a box, for every third a mask."""
        samples = Samples(seed)
        turn = seed % 6
        return self._padded(
            preset,
            [
                self._draw(
                    preset,
                    samples,
                    points=int(samples.random.integers(1, self.capacity.points + 1)),
                    box=(index + turn) % 2 == 0,
                    mask=(index + turn) % 3 == 0,
                )
                for index in range(self.capacity.prompts)
            ],
        )

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        most, side = self.capacity.points, float(preset.image_size)
        corners = [(0.0, 0.0), (side, 0.0), (0.0, side), (side, side), (side - 1, side - 1), (-side, 2 * side)]

        def case(number: int, points: int = 0, box: bool = False, mask: bool = False) -> Arrays:
            samples = Samples(number)
            drawn = [self._draw(preset, samples, points, box, mask) for _ in range(self.capacity.prompts)]
            return self._padded(preset, drawn)

        def same(prompt: Clicks) -> Arrays:
            return self._padded(preset, [prompt] * self.capacity.prompts)

        count = min(most, len(corners))
        return {
            "nothing": case(1),
            "one click": case(2, points=1),
            "a box": case(3, box=True),
            "a mask": case(4, mask=True),
            "at capacity": case(5, points=most, box=True, mask=True),
            "clicks in corners and outside": same(_clicks(corners[:count])),
            "clicks upstream calls not a point": same(_clicks(corners[:1], label=-1)),
            "box around the whole image": same(Clicks(box=np.array([0, 0, side, side], np.float32))),
            "box of one pixel": same(Clicks(box=np.array([5, 5, 6, 6], np.float32))),
            "box without area": same(Clicks(box=np.array([side, side, side, side], np.float32))),
            "mask at its limits": same(Clicks(mask=np.full((preset.mask_size,) * 2, 32, np.float32))),
        }

    def _draw(self, preset: Preset, samples: Samples, points: int, box: bool, mask: bool) -> Clicks:
        side = preset.image_size
        return Clicks(
            points=samples.uniform((points, 2), 0, side),
            labels=samples.random.integers(0, 2, points),
            box=_corners(samples.boxes()) * side if box else None,
            mask=mask_logits(samples, (preset.mask_size, preset.mask_size)) if mask else None,
        )

    def _padded(self, preset: Preset, prompts: list[Clicks]) -> Arrays:
        return pad_clicks(prompts, self.capacity, preset)


def mask_logits(samples: Samples, shape: tuple[int, ...]) -> Floats:
    """What a prediction looks like: -12 outside, 8 inside, noise."""
    noise = samples.random.standard_normal(shape, np.float32)
    return (samples.masks(shape) * 20 - 12 + noise).astype(np.float32)


def _corners(box: Floats) -> Floats:
    centre, size = box[:2], box[2:]
    return np.concatenate([centre - size / 2, centre + size / 2])


def _clicks(points: list[tuple[float, float]], label: int = 1) -> Clicks:
    return Clicks(points=np.array(points, np.float32), labels=np.full(len(points), label, np.int64))
