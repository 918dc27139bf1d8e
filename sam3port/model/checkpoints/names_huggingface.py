"""The names of Hugging Face's transformers, as in ``model.safetensors``: a `Sam3VideoModel`.

In this direction: for each tensor of upstream's checkpoint, where the file has it. The file has no weights for points
as examples, no rotary tables and no row for the class token.
"""

from __future__ import annotations

from typing import Final

from sam3port.model.checkpoints.layout import Layout
from sam3port.model.checkpoints.parts import CLICK_NECK
from sam3port.model.checkpoints.recipes import How, Recipe, Rule, Scope

DETECTOR: Final = "detector_model."
TRACKER: Final = "tracker_model."
NECK: Final = "tracker_neck."
TEXT: Final = "detector_model.text_encoder."
PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj")
_SECOND_TABLE: Final = "tracker_model.shared_image_embedding.positional_embedding"
"""A copy of the prompt encoder's table, which the file has twice."""


def _attention(ours: str, theirs: str, out: str = "o_proj") -> tuple[Rule, ...]:
    """torch's `nn.MultiheadAttention`: one matrix for queries, keys and values."""
    return (
        Rule(f"{ours}.in_proj_{{p}}", tuple(f"{theirs}.{part}.{{p}}" for part in PROJECTIONS), How.STACKED),
        Rule(f"{ours}.out_proj.{{p}}", f"{theirs}.{out}.{{p}}"),
    )


def _separate_attention(ours: str, theirs: str) -> tuple[Rule, ...]:
    """SAM's own attention (sam3/sam/transformer.py): three matrices."""
    return (
        *(Rule(f"{ours}.{part}.{{p}}", f"{theirs}.{part}.{{p}}") for part in PROJECTIONS),
        Rule(f"{ours}.out_proj.{{p}}", f"{theirs}.o_proj.{{p}}"),
    )


def _three_layers(ours: str, theirs: str) -> tuple[Rule, ...]:
    """The tracker's MLPs of three layers."""
    return (
        Rule(f"{ours}.layers.0.{{p}}", f"{theirs}.proj_in.{{p}}"),
        Rule(f"{ours}.layers.1.{{p}}", f"{theirs}.layers.0.{{p}}"),
        Rule(f"{ours}.layers.2.{{p}}", f"{theirs}.proj_out.{{p}}"),
    )


def _same(*names: str) -> tuple[Rule, ...]:
    return tuple(Rule(name, name) for name in names)


_VIT = Scope(
    "detector.backbone.vision_backbone.trunk.",
    "detector_model.vision_encoder.backbone.",
    (
        Rule("patch_embed.proj.{p}", "embeddings.patch_embeddings.projection.{p}"),
        Rule("pos_embed", "embeddings.position_embeddings", How.CLASS_ROW),
        Rule("ln_pre.{p}", "layer_norm.{p}"),
        Rule("blocks.{n}.norm{k}.{p}", "layers.{n}.layer_norm{k}.{p}"),
        Rule(
            "blocks.{n}.attn.qkv.{p}",
            tuple(f"layers.{{n}}.attention.{part}.{{p}}" for part in PROJECTIONS),
            How.STACKED,
        ),
        Rule("blocks.{n}.attn.proj.{p}", "layers.{n}.attention.o_proj.{p}"),
        Rule("blocks.{n}.mlp.fc{k}.{p}", "layers.{n}.mlp.fc{k}.{p}"),
    ),
)

_LEVELS = (
    Rule("{n}.dconv_2x2.{p}", "{n}.scale_layers.0.{p}"),
    Rule("{n}.dconv_2x2_0.{p}", "{n}.scale_layers.0.{p}"),
    Rule("{n}.dconv_2x2_1.{p}", "{n}.scale_layers.2.{p}"),
    Rule("{n}.conv_1x1.{p}", "{n}.proj1.{p}"),
    Rule("{n}.conv_3x3.{p}", "{n}.proj2.{p}"),
)
_NECKS = (
    Scope("detector.backbone.vision_backbone.convs.", "detector_model.vision_encoder.neck.fpn_layers.", _LEVELS),
    Scope(CLICK_NECK, "tracker_neck.fpn_layers.", _LEVELS),
)

_TEXT = Scope(
    "detector.backbone.language_backbone.",
    "detector_model.",
    (
        Rule("resizer.{p}", "text_projection.{p}"),
        # Not read for what SAM puts out; a parameter there, a layer here.
        Rule("encoder.text_projection", "text_encoder.text_projection.weight", How.TRANSPOSED),
        Rule("encoder.token_embedding.weight", "text_encoder.text_model.embeddings.token_embedding.weight"),
        Rule("encoder.positional_embedding", "text_encoder.text_model.embeddings.position_embedding.weight"),
        Rule("encoder.ln_final.{p}", "text_encoder.text_model.final_layer_norm.{p}"),
        Rule(
            "encoder.transformer.resblocks.{n}.ln_{k}.{p}",
            "text_encoder.text_model.encoder.layers.{n}.layer_norm{k}.{p}",
        ),
        *_attention(
            "encoder.transformer.resblocks.{n}.attn",
            "text_encoder.text_model.encoder.layers.{n}.self_attn",
            out="out_proj",  # here alone
        ),
        Rule(
            "encoder.transformer.resblocks.{n}.mlp.c_fc.{p}", "text_encoder.text_model.encoder.layers.{n}.mlp.fc1.{p}"
        ),
        Rule(
            "encoder.transformer.resblocks.{n}.mlp.c_proj.{p}",
            "text_encoder.text_model.encoder.layers.{n}.mlp.fc2.{p}",
        ),
    ),
)


def _encoder_layers(ours: str) -> tuple[Rule, ...]:
    return (
        *_attention(f"{ours}.{{n}}.self_attn", "layers.{n}.self_attn"),
        *_attention(f"{ours}.{{n}}.cross_attn_image", "layers.{n}.cross_attn"),
        Rule(f"{ours}.{{n}}.linear{{k}}.{{p}}", "layers.{n}.mlp.fc{k}.{p}"),
        Rule(f"{ours}.{{n}}.norm{{k}}.{{p}}", "layers.{n}.layer_norm{k}.{p}"),
    )


_GEOMETRY = Scope(
    "detector.geometry_encoder.",
    "detector_model.geometry_encoder.",
    (
        *_encoder_layers("encode"),
        Rule("img_pre_norm.{p}", "vision_layer_norm.{p}"),
        Rule("norm.{p}", "prompt_layer_norm.{p}"),
        Rule("encode_norm.{p}", "output_layer_norm.{p}"),
        *_same("label_embed.weight", "cls_embed.weight", "boxes_{rest}", "final_proj.{p}"),
    ),
)
_ENCODER = Scope("detector.transformer.encoder.", "detector_model.detr_encoder.", _encoder_layers("layers"))

_DECODER = Scope(
    "detector.transformer.decoder.",
    "detector_model.detr_decoder.",
    (
        *_attention("layers.{n}.self_attn", "layers.{n}.self_attn"),
        *_attention("layers.{n}.ca_text", "layers.{n}.text_cross_attn"),
        *_attention("layers.{n}.cross_attn", "layers.{n}.vision_cross_attn"),
        # Upstream's numbers are not in the order of use.
        Rule("layers.{n}.norm1.{p}", "layers.{n}.vision_cross_attn_layer_norm.{p}"),
        Rule("layers.{n}.norm2.{p}", "layers.{n}.self_attn_layer_norm.{p}"),
        Rule("layers.{n}.catext_norm.{p}", "layers.{n}.text_cross_attn_layer_norm.{p}"),
        Rule("layers.{n}.norm3.{p}", "layers.{n}.mlp_layer_norm.{p}"),
        Rule("layers.{n}.linear{k}.{p}", "layers.{n}.mlp.fc{k}.{p}"),
        Rule("norm.{p}", "output_layer_norm.{p}"),
        Rule("presence_token_out_norm.{p}", "presence_layer_norm.{p}"),
        Rule("bbox_embed.layers.{i}.{p}", "box_head.layer{i1}.{p}"),
        Rule("presence_token_head.layers.{i}.{p}", "presence_head.layer{i1}.{p}"),
        Rule("ref_point_head.layers.{i}.{p}", "ref_point_head.layer{i1}.{p}"),
        Rule("boxRPB_embed_x.layers.{i}.{p}", "box_rpb_embed_x.layer{i1}.{p}"),
        Rule("boxRPB_embed_y.layers.{i}.{p}", "box_rpb_embed_y.layer{i1}.{p}"),
        *_same("query_embed.weight", "reference_points.weight", "presence_token.weight"),
    ),
)

_SCORING = Scope(
    "detector.dot_prod_scoring.",
    "detector_model.dot_product_scoring.",
    (
        Rule("prompt_mlp.layers.{i}.{p}", "text_mlp.layer{i1}.{p}"),
        Rule("prompt_mlp.out_norm.{p}", "text_mlp_out_norm.{p}"),
        Rule("prompt_proj.{p}", "text_proj.{p}"),
        Rule("hs_proj.{p}", "query_proj.{p}"),
    ),
)

_HEAD = Scope(
    "detector.segmentation_head.",
    "detector_model.mask_decoder.",
    (
        *_attention("cross_attend_prompt", "prompt_cross_attn"),
        Rule("cross_attn_norm.{p}", "prompt_cross_attn_norm.{p}"),
        Rule("mask_predictor.mask_embed.layers.{n}.{p}", "mask_embedder.layers.{n}.{p}"),
        Rule("instance_seg_head.{p}", "instance_projection.{p}"),
        Rule("semantic_seg_head.{p}", "semantic_projection.{p}"),
        *_same("pixel_decoder.{rest}"),
    ),
)

_MASK_DECODER = Scope(
    "tracker.sam_mask_decoder.",
    "tracker_model.mask_decoder.",
    (
        *(
            rule
            for layer in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
            for rule in _separate_attention(f"transformer.layers.{{n}}.{layer}", f"transformer.layers.{{n}}.{layer}")
        ),
        *_separate_attention("transformer.final_attn_token_to_image", "transformer.final_attn_token_to_image"),
        Rule("transformer.layers.{n}.norm{k}.{p}", "transformer.layers.{n}.layer_norm{k}.{p}"),
        Rule("transformer.norm_final_attn.{p}", "transformer.layer_norm_final_attn.{p}"),
        Rule("transformer.layers.{n}.mlp.layers.0.{p}", "transformer.layers.{n}.mlp.proj_in.{p}"),
        Rule("transformer.layers.{n}.mlp.layers.1.{p}", "transformer.layers.{n}.mlp.proj_out.{p}"),
        Rule("transformer.layers.{n}.mlp.lin1.{p}", "transformer.layers.{n}.mlp.proj_in.{p}"),
        Rule("transformer.layers.{n}.mlp.lin2.{p}", "transformer.layers.{n}.mlp.proj_out.{p}"),
        *_three_layers("iou_prediction_head", "iou_prediction_head"),
        *_three_layers("pred_obj_score_head", "pred_obj_score_head"),
        *_three_layers("output_hypernetworks_mlps.{n}", "output_hypernetworks_mlps.{n}"),
        Rule("output_upscaling.0.{p}", "upscale_conv1.{p}"),
        Rule("output_upscaling.1.{p}", "upscale_layer_norm.{p}"),
        Rule("output_upscaling.3.{p}", "upscale_conv2.{p}"),
        *_same("conv_s{k}.{p}", "iou_token.weight", "mask_tokens.weight", "obj_score_token.weight"),
    ),
)

_PROMPTS = Scope(
    "tracker.sam_prompt_encoder.",
    "tracker_model.prompt_encoder.",
    (
        *(Rule(f"point_embeddings.{row}.weight", "point_embed.weight", How.ROW, row, 4) for row in range(4)),
        Rule("mask_downscaling.0.{p}", "mask_embed.conv1.{p}"),
        Rule("mask_downscaling.1.{p}", "mask_embed.layer_norm1.{p}"),
        Rule("mask_downscaling.3.{p}", "mask_embed.conv2.{p}"),
        Rule("mask_downscaling.4.{p}", "mask_embed.layer_norm2.{p}"),
        Rule("mask_downscaling.6.{p}", "mask_embed.conv3.{p}"),
        Rule("pe_layer.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
        *_same("not_a_point_embed.weight", "no_mask_embed.weight"),
    ),
)

_MEMORY_ATTENTION = Scope(
    "tracker.transformer.encoder.",
    "tracker_model.memory_attention.",
    (
        *_separate_attention("layers.{n}.self_attn", "layers.{n}.self_attn"),
        *_separate_attention("layers.{n}.cross_attn_image", "layers.{n}.cross_attn_image"),
        Rule("layers.{n}.norm{k}.{p}", "layers.{n}.layer_norm{k}.{p}"),
        *_same("layers.{n}.linear{k}.{p}"),
        Rule("norm.{p}", "layer_norm.{p}"),
    ),
)

_MEMORY_ENCODER = Scope(
    "tracker.maskmem_backbone.",
    "tracker_model.memory_encoder.",
    (
        *(
            rule
            for layer in range(4)
            for rule in (
                Rule(
                    f"mask_downsampler.encoder.{3 * layer}.{{p}}",
                    f"mask_downsampler.layers.{layer}.conv.{{p}}",
                ),
                Rule(
                    f"mask_downsampler.encoder.{3 * layer + 1}.{{p}}",
                    f"mask_downsampler.layers.{layer}.layer_norm.{{p}}",
                ),
            )
        ),
        Rule("mask_downsampler.encoder.12.{p}", "mask_downsampler.final_conv.{p}"),
        Rule("pix_feat_proj.{p}", "feature_projection.{p}"),
        Rule("out_proj.{p}", "projection.{p}"),
        Rule("fuser.layers.{n}.dwconv.{p}", "memory_fuser.layers.{n}.depthwise_conv.{p}"),
        Rule("fuser.layers.{n}.norm.{p}", "memory_fuser.layers.{n}.layer_norm.{p}"),
        Rule("fuser.layers.{n}.pwconv{k}.{p}", "memory_fuser.layers.{n}.pointwise_conv{k}.{p}"),
        Rule("fuser.layers.{n}.gamma", "memory_fuser.layers.{n}.scale"),
    ),
)

_TRACKER = Scope(
    "tracker.",
    "tracker_model.",
    (
        Rule("maskmem_tpos_enc", "memory_temporal_positional_encoding"),
        Rule("no_mem_embed", "no_memory_embedding"),
        Rule("no_mem_pos_enc", "no_memory_positional_encoding"),
        Rule("no_obj_ptr", "no_object_pointer"),
        Rule("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
        Rule("obj_ptr_tpos_proj.{p}", "temporal_positional_encoding_projection_layer.{p}"),
        *_three_layers("obj_ptr_proj", "object_pointer_proj"),
        *_same("mask_downsample.{p}"),
    ),
)

_SCOPES: Final = (
    *(_VIT, *_NECKS, _TEXT, _GEOMETRY, _ENCODER, _DECODER, _SCORING, _HEAD),
    *(_MASK_DECODER, _PROMPTS, _MEMORY_ATTENTION, _MEMORY_ENCODER, _TRACKER),
)


def _recipe(name: str) -> Recipe | None:
    return next((found for scope in _SCOPES if (found := scope.recipe(name))), None)


HUGGINGFACE: Final = Layout(
    "SAM 3 in Hugging Face's format",
    recipe=_recipe,
    clicks=(TRACKER, NECK),
    ignored=lambda name: name == _SECOND_TABLE,
)
