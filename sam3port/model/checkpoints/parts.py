"""The parts that a checkpoint has or lacks, and the names of the model's tensors in upstream's checkpoint.

Upstream's file holds the video model: ``detector.*`` is the image model, ``tracker.*`` the tracker that the interactive
predictor uses (upstream's loader: sam3/model_builder.py:519-539). Everything here is by those names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DETECTOR: Final = "detector."
TRACKER: Final = "tracker."
PREDICTOR: Final = "inst_interactive_predictor.model."
"""Where the tracker's parameters are in the image model."""
CLICK_NECK: Final = "detector.backbone.vision_backbone.sam2_convs."
FOURTH_LEVEL: Final = "detector.backbone.vision_backbone.convs.3.conv_1x1.weight"
"""Of the level of the neck that SAM 3 computes and drops."""
TABLE: Final = ".freqs_cis"
"""Rotary tables end with this. They are computed, not learned."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the model. A file has all of it or nothing."""

    title: str
    """For people."""
    prefixes: tuple[str, ...]
    """What the names of its tensors start with."""
    probe: str
    """One of them: where it is, the part is."""


POINTS: Final = Part(
    "points as examples",
    ("detector.geometry_encoder.points_",),
    "detector.geometry_encoder.points_direct_project.weight",
)
MEMORY: Final = Part(
    "the memory of earlier frames",
    (
        *("tracker.transformer.", "tracker.maskmem_backbone.", "tracker.maskmem_tpos_enc", "tracker.no_mem_pos_enc"),
        *("tracker.no_obj_ptr", "tracker.no_obj_embed_spatial", "tracker.obj_ptr_tpos_proj."),
    ),
    "tracker.maskmem_tpos_enc",
)
"""Never read for a picture."""
CLICKS: Final = Part("clicks", (TRACKER, CLICK_NECK), "tracker.sam_mask_decoder.iou_token.weight")
IMAGE: Final = Part(
    "the image encoder",
    ("detector.backbone.vision_backbone.",),
    "detector.backbone.vision_backbone.trunk.patch_embed.proj.weight",
)
TRANSFORMER: Final = Part(
    "the transformer", ("detector.transformer.",), "detector.transformer.decoder.query_embed.weight"
)
PARTS: Final = (
    POINTS,
    MEMORY,
    CLICKS,
    IMAGE,
    Part(
        "the text encoder",
        ("detector.backbone.language_backbone.",),
        "detector.backbone.language_backbone.encoder.token_embedding.weight",
    ),
    Part("the geometry encoder", ("detector.geometry_encoder.",), "detector.geometry_encoder.cls_embed.weight"),
    TRANSFORMER,
    Part("the scoring head", ("detector.dot_prod_scoring.",), "detector.dot_prod_scoring.hs_proj.weight"),
    Part(
        "the segmentation head", ("detector.segmentation_head.",), "detector.segmentation_head.instance_seg_head.weight"
    ),
)
"""All of the model; a tensor belongs to the first that its name fits."""
REQUIRED: Final = tuple(part for part in PARTS if part not in (POINTS, MEMORY, CLICKS))
"""Parts without which nothing can be answered."""


def part_of(key: str) -> Part:
    """The part that a tensor of upstream's checkpoint belongs to."""
    return next(part for part in PARTS if key.startswith(part.prefixes))


def in_checkpoint(name: str) -> str:
    """Upstream's checkpoint's name of a tensor of the image model."""
    return TRACKER + name.removeprefix(PREDICTOR) if name.startswith(PREDICTOR) else DETECTOR + name
