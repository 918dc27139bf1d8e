"""The geometry encoder: points and boxes as tokens of the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from sam3port.artifact.prompts import Geometry, pad_geometry
from sam3port.components.component import Arrays, Component, TensorSpec
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples, sine_positions

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class GeometryEncoder(Component):
    """`SequenceGeometryEncoder` as `Sam3Image._encode_prompt` calls it (sam3/model/sam3_image.py:191).

    A prompt of text only goes through it too: its CLS token is part of every prompt. Where ``geometry_mask`` is true
    the features mean nothing; the others do not depend on how much padding there is.

    Where the weights have none for points, all their places are padding.
    """

    name: ClassVar[str] = "geometry_encoder"
    summary: ClassVar[str] = "points and boxes to tokens of the prompt"
    upstream: ClassVar[str] = "SequenceGeometryEncoder, sam3/model/geometry_encoders.py:481"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        level = specs.last_level(preset)
        batch, points, boxes = self.capacity.prompts, self.capacity.points, self.capacity.boxes
        label = "1 for what is wanted, 0 for what is not"
        of_points = (
            TensorSpec("points", (points, batch, 2), "float32", "x, y, 0..1 of the image"),
            TensorSpec("point_labels", (points, batch), "int64", label),
            TensorSpec("point_mask", (batch, points), "bool", "true where points is padding, which comes last"),
        )
        return (
            specs.features(preset, level),
            specs.positions(preset, level),
            *(of_points if preset.traits.points else ()),
            TensorSpec("boxes", (boxes, batch, 4), "float32", "cxcywh, 0..1 of the image"),
            TensorSpec("box_labels", (boxes, batch), "int64", label),
            TensorSpec("box_mask", (batch, boxes), "bool", "true where boxes is padding, which comes last"),
        )

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return specs.geometry(preset, self.capacity)

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch
        from sam3.model.geometry_encoders import Prompt

        capacity, whole = self.capacity, cast(Any, model).geometry_encoder
        encoder = whole if preset.traits.points else without_points(whole)

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder: Any = encoder

            def forward(
                self, features: torch.Tensor, positions: torch.Tensor, *given: torch.Tensor
            ) -> tuple[torch.Tensor, torch.Tensor]:
                *of_points, boxes, box_labels, box_mask = given
                batch = boxes.shape[1]
                points, point_labels, point_mask = of_points or (
                    boxes.new_zeros(capacity.points, batch, 2),
                    box_labels.new_zeros(capacity.points, batch),
                    torch.ones_like(box_mask[:, :1]).expand(batch, capacity.points),
                )
                prompt = Prompt(
                    point_embeddings=points,
                    point_labels=point_labels,
                    point_mask=point_mask,
                    box_embeddings=boxes,
                    box_labels=box_labels,
                    box_mask=box_mask,
                )
                image, places = (x.flatten(2).permute(2, 0, 1).expand(-1, batch, -1) for x in (features, positions))
                encoded, mask = self.encoder(
                    geo_prompt=prompt,
                    img_feats=[image],
                    img_sizes=[tuple(features.shape[-2:])],
                    img_pos_embeds=[places],
                )
                return encoded, mask

        return Encoder()

    def example(self, preset: Preset, seed: int) -> Arrays:
        """Every prompt has some points and some boxes."""
        samples = Samples(seed)
        limits = self.capacity.points if preset.traits.points else 0, self.capacity.boxes
        prompts = [
            self._draw(samples, *(int(samples.random.integers(1, limit + 1)) if limit else 0 for limit in limits))
            for _ in range(self.capacity.prompts)
        ]
        return self._with_image(preset, samples, prompts)

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        points, boxes = self.capacity.points, self.capacity.boxes
        pixel = 1 / preset.image_size
        border = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.0, 0.5), (1.0, 0.5), (0.5, 1.0)]
        special = [
            (0.5, 0.5, 1.0, 1.0),  # the whole image
            (0.25, 0.25, 0.5, 0.5),  # touching two sides
            (0.5, 0.5, pixel, pixel),  # one pixel
            (0.5, 0.5, 0.0, 0.0),  # no area
            (1 - pixel / 2, 1 - pixel / 2, pixel, pixel),  # the last pixel
            (0.5, 0.5, 1.0, pixel),  # a line
            (0.0, 0.0, 0.5, 0.5),  # three quarters outside
            (2.0, 2.0, 0.5, 0.5),  # outside
        ]

        def case(number: int, drawn: tuple[int, int] = (0, 0), prompt: Geometry | None = None) -> Arrays:
            samples = Samples(number)
            prompts = [prompt or self._draw(samples, *drawn) for _ in range(self.capacity.prompts)]
            return self._with_image(preset, samples, prompts)

        of_points = {
            "one point": case(2, (1, 0)),
            "at capacity": case(4, (points, boxes)),
            "points at capacity": case(5, (points, 0)),
            "points in corners and on sides": case(7, prompt=_points(border[:points])),
            "points outside": case(8, prompt=_points([(-0.5, 0.5), (1.5, 1.5), (100.0, -100.0)][:points])),
        }
        return {
            "no points, no boxes": case(1),
            "one box": case(3, (0, 1)),
            "boxes at capacity": case(6, (0, boxes)),
            **(of_points if preset.traits.points else {}),
            "boxes on borders, tiny, whole image, outside": case(9, prompt=_boxes(special[:boxes])),
            "boxes without area and outside": case(10, prompt=_boxes(special[::-1][:boxes])),
        }

    def _draw(self, samples: Samples, points: int, boxes: int) -> Geometry:
        return Geometry(
            points=samples.uniform((points, 2), 0, 1),
            point_labels=samples.random.integers(0, 2, points),
            boxes=samples.boxes(boxes),
            box_labels=samples.random.integers(0, 2, boxes),
        )

    def _with_image(self, preset: Preset, samples: Samples, prompts: list[Geometry]) -> Arrays:
        features, positions, *others = self.inputs(preset)
        padded = pad_geometry(prompts, self.capacity)
        return {
            features.name: samples.map(features),
            positions.name: sine_positions(*positions.shape[1:]),
            **{spec.name: padded[spec.name] for spec in others},
        }


def without_points(encoder: Any) -> Any:
    """Upstream's `SequenceGeometryEncoder` without what encodes points; what it returns for points is all zeros.

    It holds the encoder's other parts, and runs upstream's own forward.
    """
    import torch

    class WithoutPoints(type(encoder)):  # type: ignore[misc]
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            parts = {name: part for name, part in encoder.named_children() if not name.startswith("points_")}
            # Upstream keeps settings beside the parts, of which torch keeps track in dictionaries of its own.
            own = set(self.__dict__)
            self.__dict__.update({name: value for name, value in encoder.__dict__.items() if name not in own})
            for name, part in parts.items():
                self.add_module(name, part)
            self.points_pool_project = None
            self.train(encoder.training)

        def _encode_points(
            self, points: torch.Tensor, points_mask: torch.Tensor, points_labels: torch.Tensor, img_feats: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return points.new_zeros(*points.shape[:2], self.d_model), points_mask

    return WithoutPoints()


def _points(points: list[tuple[float, float]]) -> Geometry:
    return Geometry(points=np.array(points, np.float32), point_labels=np.ones(len(points), np.int64))


def _boxes(boxes: list[tuple[float, float, float, float]]) -> Geometry:
    return Geometry(boxes=np.array(boxes, np.float32), box_labels=np.ones(len(boxes), np.int64))
