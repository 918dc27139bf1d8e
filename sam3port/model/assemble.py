"""Upstream's image model from a preset's numbers: the structure of sam3/model_builder.py with its sizes as arguments.

Upstream's builder takes no sizes, so other ones need its classes put together here. A test compares the result for
`full` with what the builder makes: state dict, types and settings of every module.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.model.preset import Preset

if TYPE_CHECKING:
    from torch import nn

# Upstream imports torch and must go through the import hook: every function imports what it needs.

DROPOUT = 0.1
THETA = 10000.0
SEGMENTATION_STAGES = 3


def assemble(preset: Preset, *, interactive: bool) -> nn.Module:
    """Upstream's ``Sam3Image``, untrained, in training mode (model_builder.py:560-638).

    Args:
        interactive: also build the interactive predictor and the second neck that feeds it.
    """
    from sam3 import model_builder as upstream

    backbone = upstream._create_vl_backbone(_vision(preset, interactive), _text(preset))
    model: nn.Module = upstream._create_sam3_model(
        backbone,
        _transformer(preset),
        _geometry(preset),
        _segmentation(preset),
        _scoring(preset),
        _predictor(preset) if interactive else None,
        eval_mode=True,
    )
    return model


def vocabulary() -> Path:
    """Upstream's BPE vocabulary, where its builder looks for it (model_builder.py:586)."""
    from sam3 import model_builder

    return Path(model_builder.__file__).parent.parent / "assets" / "bpe_simple_vocab_16e6.txt.gz"


def _positions(channels: int, precompute: int | None = None) -> nn.Module:
    from sam3.model.position_encoding import PositionEmbeddingSine

    encoding: nn.Module = PositionEmbeddingSine(
        num_pos_feats=channels,
        normalize=True,
        scale=None,
        temperature=int(THETA),
        precompute_resolution=precompute,
    )
    return encoding


def _vision(preset: Preset, interactive: bool) -> nn.Module:
    from sam3.model.necks import Sam3DualViTDetNeck
    from sam3.model.vitdet import ViT

    trunk = ViT(
        img_size=preset.image_size,
        pretrain_img_size=preset.pretrain_image_size,
        patch_size=preset.patch_size,
        embed_dim=preset.vit_embed_dim,
        depth=preset.vit_depth,
        num_heads=preset.vit_heads,
        mlp_ratio=preset.vit_mlp_ratio,
        norm_layer="LayerNorm",
        drop_path_rate=DROPOUT,
        qkv_bias=True,
        use_abs_pos=True,
        tile_abs_pos=True,
        global_att_blocks=preset.vit_global_blocks,
        rel_pos_blocks=(),
        use_rope=True,
        use_interp_rope=True,
        window_size=preset.window_size,
        pretrain_use_cls_token=True,
        retain_cls_token=False,
        ln_pre=True,
        ln_post=False,
        return_interm_layers=False,
        bias_patch_embed=False,
    )
    neck: nn.Module = Sam3DualViTDetNeck(
        position_encoding=_positions(preset.d_model, preset.image_size),
        d_model=preset.d_model,
        scale_factors=list(preset.scale_factors),
        trunk=trunk,
        add_sam2_neck=interactive,
    )
    return neck


def _text(preset: Preset) -> nn.Module:
    from sam3.model.text_encoder_ve import VETextEncoder
    from sam3.model.tokenizer_ve import SimpleTokenizer

    encoder: nn.Module = VETextEncoder(
        tokenizer=SimpleTokenizer(bpe_path=str(vocabulary())),
        d_model=preset.d_model,
        width=preset.text_width,
        heads=preset.text_heads,
        layers=preset.text_layers,
        context_length=preset.text_context,
        vocab_size=preset.text_vocab,
    )
    return encoder


def _attention(preset: Preset, *, batch_first: bool = False, dropout: float = DROPOUT) -> nn.Module:
    from sam3.model.model_misc import MultiheadAttentionWrapper

    attention: nn.Module = MultiheadAttentionWrapper(
        embed_dim=preset.d_model, num_heads=preset.heads, dropout=dropout, batch_first=batch_first
    )
    return attention


def _transformer(preset: Preset) -> nn.Module:
    from sam3.model.decoder import TransformerDecoder, TransformerDecoderLayer
    from sam3.model.encoder import TransformerEncoderFusion, TransformerEncoderLayer
    from sam3.model.model_misc import TransformerWrapper

    sizes: dict[str, Any] = {"d_model": preset.d_model, "dim_feedforward": preset.ffn_dim, "dropout": DROPOUT}
    encoder = TransformerEncoderFusion(
        layer=TransformerEncoderLayer(
            activation="relu",
            pre_norm=True,
            pos_enc_at_attn=True,
            pos_enc_at_cross_attn_keys=False,
            pos_enc_at_cross_attn_queries=False,
            self_attention=_attention(preset, batch_first=True),
            cross_attention=_attention(preset, batch_first=True),
            **sizes,
        ),
        num_layers=preset.encoder_layers,
        d_model=preset.d_model,
        num_feature_levels=1,
        frozen=False,
        use_act_checkpoint=True,
        add_pooled_text_to_img_feat=False,
        pool_text_with_mask=True,
    )
    decoder = TransformerDecoder(
        layer=TransformerDecoderLayer(
            activation="relu",
            cross_attention=_attention(preset),
            n_heads=preset.heads,
            use_text_cross_attention=True,
            **sizes,
        ),
        num_layers=preset.decoder_layers,
        num_queries=preset.num_queries,
        return_intermediate=True,
        box_refine=True,
        num_o2m_queries=0,
        dac=True,
        boxRPB="log",
        d_model=preset.d_model,
        frozen=False,
        interaction_layer=None,
        dac_use_selfatt_ln=True,
        resolution=preset.image_size,
        stride=preset.patch_size,
        use_act_checkpoint=True,
        presence_token=True,
    )
    wrapper: nn.Module = TransformerWrapper(encoder=encoder, decoder=decoder, d_model=preset.d_model)
    return wrapper


def _scoring(preset: Preset) -> nn.Module:
    from sam3.model.model_misc import MLP, DotProductScoring
    from torch import nn

    scoring: nn.Module = DotProductScoring(
        d_model=preset.d_model,
        d_proj=preset.d_model,
        prompt_mlp=MLP(
            input_dim=preset.d_model,
            hidden_dim=preset.ffn_dim,
            output_dim=preset.d_model,
            num_layers=2,
            dropout=DROPOUT,
            residual=True,
            out_norm=nn.LayerNorm(preset.d_model),
        ),
    )
    return scoring


def _segmentation(preset: Preset) -> nn.Module:
    from sam3.model.maskformer_segmentation import PixelDecoder, UniversalSegmentationHead

    head: nn.Module = UniversalSegmentationHead(
        hidden_dim=preset.d_model,
        upsampling_stages=SEGMENTATION_STAGES,
        aux_masks=False,
        presence_head=False,
        dot_product_scorer=None,
        act_ckpt=True,
        cross_attend_prompt=_attention(preset, dropout=0),
        pixel_decoder=PixelDecoder(
            num_upsampling_stages=SEGMENTATION_STAGES, interpolation_mode="nearest", hidden_dim=preset.d_model
        ),
    )
    return head


def _geometry(preset: Preset) -> nn.Module:
    from sam3.model.encoder import TransformerEncoderLayer
    from sam3.model.geometry_encoders import SequenceGeometryEncoder

    encoder: nn.Module = SequenceGeometryEncoder(
        pos_enc=_positions(preset.d_model),
        encode_boxes_as_points=False,
        points_direct_project=True,
        points_pool=True,
        points_pos_enc=True,
        boxes_direct_project=True,
        boxes_pool=True,
        boxes_pos_enc=True,
        d_model=preset.d_model,
        num_layers=preset.geometry_layers,
        layer=TransformerEncoderLayer(
            activation="relu",
            d_model=preset.d_model,
            dim_feedforward=preset.ffn_dim,
            dropout=DROPOUT,
            pre_norm=True,
            pos_enc_at_attn=False,
            pos_enc_at_cross_attn_queries=False,
            pos_enc_at_cross_attn_keys=True,
            self_attention=_attention(preset),
            cross_attention=_attention(preset),
        ),
        roi_size=preset.roi_size,
        use_act_ckpt=True,
        add_cls=True,
        add_post_encode_proj=True,
    )
    return encoder


def _predictor(preset: Preset) -> nn.Module:
    """The interactive predictor on an untrained tracker (model_builder.py:617, 384-436)."""
    from sam3.model.model_misc import TransformerWrapper
    from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor
    from sam3.model.sam3_tracking_predictor import Sam3TrackerPredictor

    tracker = Sam3TrackerPredictor(
        image_size=preset.image_size,
        backbone_stride=preset.patch_size,
        num_maskmem=7,
        backbone=None,
        transformer=TransformerWrapper(encoder=_memory_attention(preset), decoder=None, d_model=preset.d_model),
        maskmem_backbone=_memory_encoder(preset),
        multimask_output_in_sam=True,
        forward_backbone_per_frame_for_eval=True,
        trim_past_non_cond_mem_for_eval=False,
        multimask_output_for_tracking=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        always_start_from_first_ann_frame=False,
        non_overlap_masks_for_mem_enc=False,
        non_overlap_masks_for_output=False,
        max_cond_frames_in_attn=4,
        offload_output_to_cpu_for_eval=False,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
        clear_non_cond_mem_around_input=True,
        fill_hole_area=0,
        use_memory_selection=False,
    )
    predictor: nn.Module = SAM3InteractiveImagePredictor(tracker)
    # Upstream writes the sizes for 1008 pixels into the constructor (sam1_task_predictor.py:64).
    predictor._bb_feat_sizes = list(preset.feature_sizes)  # type: ignore[assignment]
    return predictor


def _memory_attention(preset: Preset) -> nn.Module:
    from sam3.model.decoder import TransformerDecoderLayerv2, TransformerEncoderCrossAttention
    from sam3.sam.transformer import RoPEAttention

    rotary: dict[str, Any] = {
        "embedding_dim": preset.d_model,
        "num_heads": 1,
        "downsample_rate": 1,
        "dropout": DROPOUT,
        "rope_theta": THETA,
        "feat_sizes": [preset.grid, preset.grid],
        "use_fa3": False,
        "use_rope_real": False,
    }
    attention: nn.Module = TransformerEncoderCrossAttention(
        layer=TransformerDecoderLayerv2(
            cross_attention_first=False,
            activation="relu",
            d_model=preset.d_model,
            dim_feedforward=preset.ffn_dim,
            dropout=DROPOUT,
            pre_norm=True,
            pos_enc_at_attn=False,
            pos_enc_at_cross_attn_keys=True,
            pos_enc_at_cross_attn_queries=False,
            self_attention=RoPEAttention(**rotary),
            cross_attention=RoPEAttention(**rotary, kv_in_dim=preset.memory_dim, rope_k_repeat=True),
        ),
        num_layers=preset.memory_layers,
        d_model=preset.d_model,
        batch_first=True,
        frozen=False,
        pos_enc_at_input=True,
        remove_cross_attention_layers=[],
        use_act_checkpoint=False,
    )
    return attention


def _memory_encoder(preset: Preset) -> nn.Module:
    from sam3.model.memory import CXBlock, SimpleFuser, SimpleMaskDownSampler, SimpleMaskEncoder

    # The mask is brought to 16 times the feature map before the convolutions take that factor out again.
    mask_side = preset.grid * 16
    encoder: nn.Module = SimpleMaskEncoder(
        in_dim=preset.d_model,
        out_dim=preset.memory_dim,
        position_encoding=_positions(preset.memory_dim, preset.image_size),
        mask_downsampler=SimpleMaskDownSampler(
            embed_dim=preset.d_model, kernel_size=3, stride=2, padding=1, interpol_size=[mask_side, mask_side]
        ),
        fuser=SimpleFuser(
            layer=CXBlock(
                dim=preset.d_model, kernel_size=7, padding=3, layer_scale_init_value=1.0e-06, use_dwconv=True
            ),
            num_layers=preset.memory_fuser_layers,
        ),
    )
    return encoder
