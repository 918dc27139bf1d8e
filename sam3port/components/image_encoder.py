"""The image path with both necks: for the detector, and for the interactive predictor and the tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sam3port.components.component import TensorSpec
from sam3port.components.data import specs
from sam3port.components.vision_backbone import VisionBackbone, neck
from sam3port.model.interactive import tracker_of

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset


class ImageEncoder(VisionBackbone):
    """All that is computed once for each image when it is clicked on as well as searched.

    Besides the neck this is what upstream does right after it: the convolutions of the mask decoder for the two finer
    levels (`Sam3Processor.set_image`, sam3_image_processor.py:60) and ``no_mem_embed`` (`Sam3Image.predict_inst`,
    sam3_image.py:617). The second neck's position encodings are those of the first.
    """

    name: ClassVar[str] = "image_encoder"
    summary: ClassVar[str] = "image to features for the detector and for clicks and tracking"
    upstream: ClassVar[str] = "Sam3DualViTDetNeck with add_sam2_neck, sam3/model/necks.py:13"
    clicks: ClassVar[bool] = True

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        shape = (1, preset.d_model, *preset.feature_sizes[-1])
        return (
            *super().outputs(preset),
            TensorSpec("tracker_features", shape, "float32", "the second neck's features for each patch, NCHW"),
            *specs.tracker(preset),
        )

    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        import torch

        tracker = tracker_of(model)

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.neck = neck(model, preset, second=True)
                self.conv_s0 = tracker.sam_mask_decoder.conv_s0
                self.conv_s1 = tracker.sam_mask_decoder.conv_s1
                self.no_mem_embed = tracker.no_mem_embed

            def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
                features, positions, (fine, middle, coarse, *_), _ = self.neck(image)
                embedding = coarse + self.no_mem_embed.view(1, -1, 1, 1)
                return (*features, *positions, coarse, embedding, self.conv_s0(fine), self.conv_s1(middle))

        return Encoder()
