"""The tensors that flow between components, declared once: one name, one shape and one meaning at both ends.

A component's outputs are wired to the next one's inputs by name. The only thing done between components is to put the
prompt together: ``prompt`` is ``text_features`` and ``geometry_features`` one after the other, ``prompt_mask`` is
``text_mask`` and ``geometry_mask`` side by side (`sam3port.artifact.prompts.join`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sam3port.components.component import Capacity, TensorSpec

if TYPE_CHECKING:
    from sam3port.model.preset import Preset

FLOAT: Final = "float32"
LABEL: Final = "int64"
FLAG: Final = "bool"


def image(preset: Preset) -> TensorSpec:
    side = preset.image_size
    return TensorSpec("image", (1, 3, side, side), FLOAT, "RGB, NCHW, -1 (black) to 1 (white)")


def _stride(preset: Preset, level: int) -> str:
    return f"{preset.patch_size / preset.scale_factors[level]:g} pixels"


def features(preset: Preset, level: int) -> TensorSpec:
    """Level 0 is the finest."""
    shape = (1, preset.d_model, *preset.pyramid_sizes[level])
    return TensorSpec(f"features_{level}", shape, FLOAT, f"image features, NCHW, one for each {_stride(preset, level)}")


def positions(preset: Preset, level: int) -> TensorSpec:
    shape = (1, preset.d_model, *preset.pyramid_sizes[level])
    return TensorSpec(f"positions_{level}", shape, FLOAT, f"position encoding of features_{level}, -1..1: a constant")


def last_level(preset: Preset) -> int:
    """The level that the detector's transformers read: one feature for each patch (``num_feature_levels=1``)."""
    return len(preset.feature_sizes) - 1


def tracker(preset: Preset) -> tuple[TensorSpec, ...]:
    """``image_embedding``, ``high_res_0`` and ``high_res_1``: what clicks are answered with."""
    channels = preset.d_model
    fine, middle, coarse = preset.feature_sizes
    return (
        TensorSpec("image_embedding", (1, channels, *coarse), FLOAT, "tracker_features plus no_mem_embed, NCHW"),
        TensorSpec("high_res_0", (1, channels // 8, *fine), FLOAT, "the second neck's finest features after conv_s0"),
        TensorSpec("high_res_1", (1, channels // 4, *middle), FLOAT, "its next level after conv_s1"),
    )


def clicks(preset: Preset, capacity: Capacity) -> tuple[TensorSpec, ...]:
    """``dense_pe``, ``sparse``, ``sparse_mask`` and ``dense``: the interactive prompt, encoded."""
    batch, length, channels, grid = capacity.prompts, capacity.points + 3, preset.d_model, preset.grid
    return (
        TensorSpec("dense_pe", (1, channels, grid, grid), FLOAT, "position encoding of the image, -1..1: a constant"),
        TensorSpec(
            "sparse", (batch, length, channels), FLOAT, "box corners, points and, last, upstream's no-more-points"
        ),
        TensorSpec("sparse_mask", (batch, length), FLAG, "true where sparse is padding"),
        TensorSpec("dense", (batch, channels, grid, grid), FLOAT, "the mask prompt, or upstream's embedding of none"),
    )


def tokens(preset: Preset, capacity: Capacity) -> TensorSpec:
    meaning = "tokens of one text for each prompt: start, text, end, then zeros"
    return TensorSpec("tokens", (capacity.prompts, preset.text_context), LABEL, meaning)


def text(preset: Preset, capacity: Capacity) -> tuple[TensorSpec, TensorSpec]:
    """``text_features`` and ``text_mask``."""
    length, batch = preset.text_context, capacity.prompts
    return (
        TensorSpec("text_features", (length, batch, preset.d_model), FLOAT, "one for each token, sequence first"),
        TensorSpec("text_mask", (batch, length), FLAG, "true where the text is over"),
    )


def geometry(preset: Preset, capacity: Capacity) -> tuple[TensorSpec, TensorSpec]:
    """``geometry_features`` and ``geometry_mask``."""
    length, batch = geometry_length(capacity), capacity.prompts
    order = "points, boxes and the CLS token without gaps, then padding; sequence first"
    return (
        TensorSpec("geometry_features", (length, batch, preset.d_model), FLOAT, order),
        TensorSpec("geometry_mask", (batch, length), FLAG, "true where geometry_features is padding"),
    )


def geometry_length(capacity: Capacity) -> int:
    """Points, boxes and the CLS token."""
    return capacity.points + capacity.boxes + 1


def prompt_length(preset: Preset, capacity: Capacity) -> int:
    """Text, then geometry."""
    return preset.text_context + geometry_length(capacity)


def prompt(preset: Preset, capacity: Capacity) -> tuple[TensorSpec, TensorSpec]:
    """``prompt`` and ``prompt_mask``."""
    length, batch = prompt_length(preset, capacity), capacity.prompts
    return (
        TensorSpec("prompt", (length, batch, preset.d_model), FLOAT, "text, then geometry features, sequence first"),
        TensorSpec(
            "prompt_mask", (batch, length), FLAG, "true where the prompt is padding; never all of it: CLS is not"
        ),
    )


def memory(preset: Preset, capacity: Capacity) -> TensorSpec:
    shape = (preset.grid**2, capacity.prompts, preset.d_model)
    return TensorSpec("memory", shape, FLOAT, "image features that have seen the prompt, row by row, sequence first")


def hs(preset: Preset, capacity: Capacity) -> TensorSpec:
    shape = (preset.decoder_layers, capacity.prompts, preset.num_queries, preset.d_model)
    return TensorSpec("hs", shape, FLOAT, "the queries after each decoder layer, normalised")


def reference_boxes(preset: Preset, capacity: Capacity) -> TensorSpec:
    shape = (preset.decoder_layers, capacity.prompts, preset.num_queries, 4)
    return TensorSpec("reference_boxes", shape, FLOAT, "boxes that each layer starts from, cxcywh, 0..1 of the image")


def presence_logits(preset: Preset, capacity: Capacity) -> TensorSpec:
    shape = (preset.decoder_layers, capacity.prompts, 1)
    return TensorSpec("presence_logits", shape, FLOAT, "after each layer: is what the prompt names in the image at all")
