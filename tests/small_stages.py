"""Every stage of SAM 3 from upstream's own classes, with small dimensions and seeded weights.

For subprocesses with `sam3port.install()` done: their code starts with the text of this file (hence no import from
``__future__``, which would have to come first).
"""

import torch
from sam3.model.decoder import TransformerDecoder, TransformerDecoderLayer
from sam3.model.encoder import TransformerEncoderFusion, TransformerEncoderLayer
from sam3.model.geometry_encoders import FusedMaskEncoder, Prompt, SequenceGeometryEncoder
from sam3.model.maskformer_segmentation import PixelDecoder, UniversalSegmentationHead
from sam3.model.memory import CXBlock, SimpleFuser, SimpleMaskDownSampler
from sam3.model.model_misc import MLP, DotProductScoring, MultiheadAttentionWrapper
from sam3.model.necks import Sam3DualViTDetNeck
from sam3.model.position_encoding import PositionEmbeddingSine
from sam3.model.text_encoder_ve import VETextEncoder
from sam3.model.vitdet import ViT
from sam3.sam.mask_decoder import MaskDecoder
from sam3.sam.prompt_encoder import PromptEncoder
from sam3.sam.transformer import TwoWayTransformer
from torch import nn

WIDTH, HEADS, PATCH, GRID = 32, 4, 14, 8
RESOLUTION = PATCH * GRID


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in eval mode; every parameter drawn anew, so that none is zero or one."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            spread = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * spread)
    return module.eval()


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def attention(**options: object) -> nn.Module:
    return MultiheadAttentionWrapper(embed_dim=WIDTH, num_heads=HEADS, **options)


def positions() -> nn.Module:
    return PositionEmbeddingSine(num_pos_feats=WIDTH, normalize=True, scale=None, temperature=10000)


def vit(**options: object) -> nn.Module:
    """Window 4 of a grid of 8, global attention in blocks 1 and 3, rotary positions interpolated as upstream's."""
    usual = {"tile_abs_pos": True, "global_att_blocks": (1, 3), "window_size": 4, "retain_cls_token": False}
    return ViT(
        img_size=RESOLUTION, pretrain_img_size=56, patch_size=PATCH, embed_dim=64, depth=4, num_heads=4, mlp_ratio=2,
        norm_layer="LayerNorm", drop_path_rate=0.1, rel_pos_blocks=(), use_rope=True, use_interp_rope=True, ln_pre=True,
        bias_patch_embed=False, **(usual | options),
    )  # fmt: skip


def neck(sam2: bool = True) -> nn.Module:
    return Sam3DualViTDetNeck(
        position_encoding=positions(),
        d_model=WIDTH,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        trunk=vit(),
        add_sam2_neck=sam2,
    )


def text_encoder() -> nn.Module:
    return VETextEncoder(tokenizer=None, d_model=WIDTH, width=64, heads=4, layers=2, context_length=8, vocab_size=100)


def fusion_encoder(**options: object) -> nn.Module:
    layer = TransformerEncoderLayer(
        activation="relu", d_model=WIDTH, dim_feedforward=64, dropout=0.1, pos_enc_at_attn=True,
        pos_enc_at_cross_attn_keys=False, pos_enc_at_cross_attn_queries=False, pre_norm=True,
        self_attention=attention(batch_first=True), cross_attention=attention(batch_first=True),
    )  # fmt: skip
    usual = {"add_pooled_text_to_img_feat": False, "pool_text_with_mask": True}
    return TransformerEncoderFusion(
        layer=layer, num_layers=2, d_model=WIDTH, num_feature_levels=1, use_act_checkpoint=True, **(usual | options)
    )


def decoder(resolution: int | None = RESOLUTION) -> nn.Module:
    layer = TransformerDecoderLayer(
        activation="relu", d_model=WIDTH, dim_feedforward=64, dropout=0.1, cross_attention=attention(), n_heads=HEADS,
        use_text_cross_attention=True,
    )  # fmt: skip
    return TransformerDecoder(
        layer=layer, num_layers=3, num_queries=10, return_intermediate=True, box_refine=True, dac=True, boxRPB="log",
        d_model=WIDTH, frozen=False, interaction_layer=None, resolution=resolution,
        stride=PATCH if resolution else None, use_act_checkpoint=True, presence_token=True,
    )  # fmt: skip


def segmentation_head() -> nn.Module:
    return UniversalSegmentationHead(
        hidden_dim=WIDTH, upsampling_stages=3, act_ckpt=True, cross_attend_prompt=attention(),
        pixel_decoder=PixelDecoder(num_upsampling_stages=3, interpolation_mode="nearest", hidden_dim=WIDTH),
    )  # fmt: skip


def scoring() -> nn.Module:
    mlp = MLP(WIDTH, 64, WIDTH, 2, dropout=0.1, residual=True, out_norm=nn.LayerNorm(WIDTH))
    return DotProductScoring(d_model=WIDTH, d_proj=WIDTH, prompt_mlp=mlp)


def mask_encoder() -> nn.Module:
    side = GRID * 16
    return FusedMaskEncoder(
        mask_downsampler=SimpleMaskDownSampler(
            embed_dim=WIDTH, kernel_size=3, stride=2, padding=1, interpol_size=[side, side]
        ),
        position_encoding=positions(),
        fuser=SimpleFuser(layer=CXBlock(dim=WIDTH), num_layers=2),
        in_dim=WIDTH,
        out_dim=WIDTH,
    )


def geometry_encoder(masks: bool = False) -> nn.Module:
    layer = TransformerEncoderLayer(
        activation="relu", d_model=WIDTH, dim_feedforward=64, dropout=0.1, pos_enc_at_attn=False, pre_norm=True,
        self_attention=attention(), pos_enc_at_cross_attn_queries=False, pos_enc_at_cross_attn_keys=True,
        cross_attention=attention(),
    )  # fmt: skip
    return SequenceGeometryEncoder(
        pos_enc=positions(), encode_boxes_as_points=False, points_direct_project=True, points_pool=True,
        points_pos_enc=True, boxes_direct_project=True, boxes_pool=True, boxes_pos_enc=True, d_model=WIDTH,
        num_layers=2, layer=layer, use_act_ckpt=True, mask_encoder=mask_encoder() if masks else None,
        add_mask_label=masks,
    )  # fmt: skip


def prompt_encoder() -> nn.Module:
    return PromptEncoder(
        embed_dim=WIDTH, image_embedding_size=(GRID, GRID), input_image_size=(RESOLUTION, RESOLUTION), mask_in_chans=16
    )


def mask_decoder() -> nn.Module:
    return MaskDecoder(
        num_multimask_outputs=3, transformer_dim=WIDTH, iou_head_hidden_dim=WIDTH, use_high_res_features=True,
        transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=64, num_heads=HEADS),
        iou_prediction_use_sigmoid=True, pred_obj_scores=True, pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True, dynamic_multimask_via_stability=True,
    )  # fmt: skip


class Fusion(nn.Module):
    """The fusion encoder on one level: sequences with ``sizes``, maps without."""

    def __init__(self, encoder: nn.Module, sizes: list[tuple[int, int]] | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.sizes = sizes

    def forward(self, features, positions, prompt, prompt_mask):
        out = self.encoder(
            src=[features], src_pos=[positions], prompt=prompt, prompt_pos=torch.zeros_like(prompt),
            prompt_key_padding_mask=prompt_mask, feat_sizes=self.sizes,
        )  # fmt: skip
        return out["memory"], out["pos_embed"], out["valid_ratios"]


class Decoding(nn.Module):
    """The decoder as Sam3Image._run_decoder calls it; ``shapes`` are given here or as the last input."""

    def __init__(self, decoder: nn.Module, shapes: object = None) -> None:
        super().__init__()
        self.decoder = decoder
        self.shapes = shapes

    def forward(self, memory, positions, prompt, prompt_mask, shapes=None):
        batch = memory.shape[1]
        return self.decoder(
            tgt=self.decoder.query_embed.weight.unsqueeze(1).repeat(1, batch, 1), memory=memory, pos=positions,
            spatial_shapes=self.shapes if shapes is None else shapes, valid_ratios=torch.ones(batch, 1, 2),
            memory_text=prompt, text_attention_mask=prompt_mask, apply_dac=False,
        )  # fmt: skip


class Geometry(nn.Module):
    """The geometry encoder with a `Prompt` made of its inputs."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, features, positions, points, point_labels, point_mask, boxes, box_labels, box_mask,
        masks=None, mask_mask=None, mask_labels=None,
    ):  # fmt: skip
        prompt = Prompt(
            box_embeddings=boxes, box_mask=box_mask, box_labels=box_labels, point_embeddings=points,
            point_mask=point_mask, point_labels=point_labels, mask_embeddings=masks, mask_mask=mask_mask,
            mask_labels=mask_labels,
        )  # fmt: skip
        return self.encoder(
            geo_prompt=prompt, img_feats=[features], img_sizes=[(GRID, GRID)], img_pos_embeds=[positions]
        )


def sequence(batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Image features, their positions, a prompt and its padding mask, all sequence first but the mask."""
    mask = torch.zeros(batch, 7, dtype=torch.bool)
    mask[-1, 4:] = True
    tokens = GRID * GRID
    return (
        numbers(tokens, batch, WIDTH), numbers(tokens, batch, WIDTH, seed=2), numbers(7, batch, WIDTH, seed=3), mask
    )  # fmt: skip


def prompts(points: int, boxes: int, padded: tuple[int, int] = (0, 0), batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Points, labels, mask, boxes, labels, mask; the last ``padded`` of each are padding."""
    draw = torch.Generator().manual_seed(points + 10 * boxes)
    made: list[torch.Tensor] = []
    for count, size, padding in ((points, 2, padded[0]), (boxes, 4, padded[1])):
        mask = torch.zeros(batch, count, dtype=torch.bool)
        mask[:, count - padding :] = True
        made += [
            torch.rand(count, batch, size, generator=draw) * 0.5 + 0.1,
            torch.randint(0, 2, (count, batch), generator=draw),
            mask,
        ]
    return tuple(made)
