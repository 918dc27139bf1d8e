"""The built-in components, delivered through the public hook like anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3port.hookspecs import hookimpl

if TYPE_CHECKING:
    from sam3port.components.component import Component


@hookimpl
def sam3port_components() -> list[type[Component]]:
    # Imported here: `sam3port.install()` registers this plugin too, and has no use for numpy.
    from sam3port.components.scoring_head import ScoringHead
    from sam3port.components.segmentation_head import SegmentationHead
    from sam3port.components.transformer_decoder import TransformerDecoder
    from sam3port.components.transformer_encoder import TransformerEncoder, TransformerEncoderMaps
    from sam3port.components.vision_backbone import VisionBackbone

    return [
        VisionBackbone,
        TransformerEncoder,
        TransformerEncoderMaps,
        TransformerDecoder,
        SegmentationHead,
        ScoringHead,
    ]
