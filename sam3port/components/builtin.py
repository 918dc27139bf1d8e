"""The built-in components, delivered through the public hook like anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3port.hookspecs import hookimpl

if TYPE_CHECKING:
    from sam3port.components.component import Component


@hookimpl
def sam3port_components() -> list[type[Component]]:
    # Imported here: `sam3port.install()` registers this plugin too, and has no use for numpy.
    from sam3port.components.geometry_encoder import GeometryEncoder
    from sam3port.components.image_encoder import ImageEncoder
    from sam3port.components.mask_decoder import MaskDecoder
    from sam3port.components.mask_prompt_encoder import MaskPromptEncoder
    from sam3port.components.prompt_encoder import PromptEncoder
    from sam3port.components.scoring_head import ScoringHead
    from sam3port.components.segmentation_head import SegmentationHead
    from sam3port.components.text_encoder import TextEncoder
    from sam3port.components.transformer_decoder import TransformerDecoder
    from sam3port.components.transformer_encoder import TransformerEncoder, TransformerEncoderMaps
    from sam3port.components.vision_backbone import VisionBackbone

    return [
        VisionBackbone,
        ImageEncoder,
        TextEncoder,
        GeometryEncoder,
        MaskPromptEncoder,
        TransformerEncoder,
        TransformerEncoderMaps,
        TransformerDecoder,
        SegmentationHead,
        ScoringHead,
        PromptEncoder,
        MaskDecoder,
    ]
