"""SAM 3.1's names, as in ``sam3.1_multiplex.pt``.

The detector is SAM 3's, without the fourth level of the neck. Clicks are answered by the decoder whose name begins with
"interactive"; the other one, with 48 mask tokens for 16 objects, belongs to video, like everything else of the tracker.
"""

from __future__ import annotations

from typing import Final

from sam3port.model.checkpoints.layout import Layout
from sam3port.model.checkpoints.parts import CLICK_NECK
from sam3port.model.checkpoints.recipes import Recipe, Rule, Scope

MARK: Final = "tracker.model."
"""What every name of its tracker starts with, and no other file's."""
_CLICK_NECK: Final = "detector.backbone.vision_backbone.interactive_convs."
_VIDEO_NECK: Final = "detector.backbone.vision_backbone.propagation_convs."

_SCOPES: Final = (
    Scope(
        "tracker.",
        MARK,
        (
            Rule("sam_mask_decoder.{rest}", "interactive_sam_mask_decoder.{rest}"),
            Rule("sam_prompt_encoder.{rest}", "interactive_sam_prompt_encoder.{rest}"),
            Rule("no_mem_embed", "interactivity_no_mem_embed"),
            Rule("mask_downsample.{rest}", "interactive_mask_downsample.{rest}"),
            Rule("obj_ptr_proj.{rest}", "interactive_obj_ptr_proj.{rest}"),
        ),
    ),
    Scope(CLICK_NECK, _CLICK_NECK, (Rule("{rest}", "{rest}"),)),
    Scope("detector.", "detector.", (Rule("{rest}", "{rest}"),)),
)


def _recipe(name: str) -> Recipe | None:
    return next((found for scope in _SCOPES if (found := scope.recipe(name))), None)


def _video(name: str) -> bool:
    return name.startswith((MARK, _VIDEO_NECK)) and "interactiv" not in name


MULTIPLEX: Final = Layout(
    "SAM 3.1 (multiplex)",
    recipe=_recipe,
    clicks=(f"{MARK}interactiv", _CLICK_NECK),
    ignored=_video,
    notes=(
        "what is for video alone is left out",
        "IoU scores of clicks are not between 0 and 1: SAM 3.1 trained them so",
    ),
    iou_sigmoid=False,
)
