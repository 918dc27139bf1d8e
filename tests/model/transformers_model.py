"""transformers' own SAM 3 with a model's weights, each known deviation of it removed.

docs/deviations.md lists them; each is removed in one place here, which names its number there.
"""

from __future__ import annotations

import gzip
from typing import Any

import torch
from torch import Tensor

from sam3port.model.preset import Preset
from tests.model.checkpoints.writing import huggingface_tensors

UPSTREAMS_EPS = 1e-5
"""Deviation 5: LayerNorm of the ViT."""
PADDED_BOX = {"input_boxes": torch.full((1, 1, 4), -10.0), "input_boxes_labels": torch.tensor([[-10]])}
"""Deviation 1: with text alone the geometry encoder is skipped. A box that is padding has it run, on CLS alone."""


class Detector:
    """`Sam3Model` and `Sam3Processor`."""

    def __init__(self, model: Any, preset: Preset) -> None:
        from transformers import Sam3Model, Sam3Processor

        self.model = Sam3Model(detector_config(preset)).eval()
        own = {name: value for name, value in huggingface_tensors(model).items() if name.startswith("detector_model.")}
        _load(self.model, {name.removeprefix("detector_model."): value for name, value in own.items()})
        self.model.detr_decoder.clamp_presence_logit_max_val = float("inf")  # deviation 6
        self.processor = Sam3Processor(_pictures(preset), _tokenizer())

    def ask(self, picture: Any, text: str | None, boxes: Any = None, labels: Any = None) -> tuple[Any, Any]:
        """What the processor makes of a prompt, and the model's raw answer."""
        given = {} if boxes is None else {"input_boxes": [boxes], "input_boxes_labels": [labels]}
        inputs = self.processor(images=picture, text=text, return_tensors="pt", **given)
        shown = dict(inputs)
        sizes = shown.pop("original_sizes")
        with torch.inference_mode():
            answer = self.model(**({} if boxes is not None else PADDED_BOX) | shown)
        return sizes.tolist(), answer

    def objects(self, sizes: Any, answer: Any, threshold: float) -> dict[str, Tensor]:
        """Objects as its processor finds them."""
        # Deviation 4: the processor enlarges probabilities, upstream logits.
        height, width = sizes[0]
        found = self.processor.post_process_instance_segmentation(answer, threshold=threshold, target_sizes=sizes)[0]
        kept = (answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid())[0] > threshold
        logits = torch.nn.functional.interpolate(
            answer.pred_masks[:, kept], (height, width), mode="bilinear", align_corners=False
        )
        return {**found, "masks": logits[0].sigmoid() > 0.5}


class Tracker:
    """`Sam3TrackerModel` and its processor: clicks on a picture."""

    def __init__(self, model: Any, preset: Preset) -> None:
        from transformers import Sam3TrackerConfig, Sam3TrackerModel, Sam3TrackerProcessor

        class ThreeLevels(Sam3TrackerModel):  # type: ignore[misc]
            """Deviation 2: the no-memory embedding is added to the last level, which is then dropped."""

            def get_image_features(self, *arguments: Any, **options: Any) -> Any:
                found = super().get_image_features(*arguments, **options)
                found.fpn_hidden_states = found.fpn_hidden_states[:-1]
                return found

        side = preset.image_size
        config = Sam3TrackerConfig(
            vision_config=_vision(preset),
            prompt_encoder_config={"hidden_size": preset.d_model, "image_size": side, "patch_size": preset.patch_size},
            mask_decoder_config={"hidden_size": preset.d_model, "iou_head_hidden_dim": 256, "mlp_dim": 2048},
        )
        self.model = ThreeLevels(config).eval()
        _load(self.model, _trackers(huggingface_tensors(model), self.model))
        self.processor = Sam3TrackerProcessor(_pictures(preset), target_size=side)

    def click(self, picture: Any, points: Any, labels: Any, multimask: bool) -> Any:
        """The model's raw answer: low-resolution logits and scores."""
        inputs = self.processor(images=picture, input_points=[[points]], input_labels=[[labels]], return_tensors="pt")
        shown = {name: value for name, value in inputs.items() if name != "original_sizes"}
        with torch.inference_mode():
            return self.model(**shown, multimask_output=multimask)


def video_model(preset: Preset) -> Any:
    """A `Sam3VideoModel`, which is what Hugging Face publishes, on the current device; with any weights."""
    from transformers import Sam3VideoModel

    model = Sam3VideoModel(_video_config(preset))
    for layer in model.tracker_model.memory_attention.layers:
        # Their code has upstream's 64 channels of memory in it, whatever the configuration says.
        for name in ("k_proj", "v_proj"):
            setattr(layer.cross_attn_image, name, torch.nn.Linear(preset.memory_dim, preset.d_model))
    return model


def _video_config(preset: Preset) -> Any:
    from transformers import Sam3TrackerVideoConfig, Sam3VideoConfig

    memory, grid = preset.memory_dim, preset.grid
    tracker = Sam3TrackerVideoConfig(
        vision_config=_vision(preset),
        prompt_encoder_config={"hidden_size": preset.d_model, "image_size": preset.image_size},
        mask_decoder_config={"hidden_size": preset.d_model},
        memory_attention_hidden_size=preset.d_model,
        memory_attention_num_layers=preset.memory_layers,
        memory_attention_feed_forward_hidden_size=preset.ffn_dim,
        memory_attention_rope_feat_sizes=[grid, grid],
        memory_encoder_hidden_size=preset.d_model,
        memory_encoder_output_channels=memory,
        mask_downsampler_embed_dim=preset.d_model,
        memory_fuser_num_layers=preset.memory_fuser_layers,
        memory_fuser_embed_dim=preset.d_model,
        memory_fuser_intermediate_dim=4 * preset.d_model,
    )
    return Sam3VideoConfig(detector_config=detector_config(preset).to_dict(), tracker_config=tracker.to_dict())


def detector_config(preset: Preset) -> Any:
    from transformers import Sam3Config

    layer = {
        "hidden_size": preset.d_model,
        "num_attention_heads": preset.heads,
        "intermediate_size": preset.ffn_dim,
    }
    return Sam3Config(
        vision_config=_vision(preset),
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": preset.text_vocab,
            "hidden_size": preset.text_width,
            "intermediate_size": preset.text_mlp_dim,
            "projection_dim": 512,
            "num_hidden_layers": preset.text_layers,
            "num_attention_heads": preset.text_heads,
            "max_position_embeddings": preset.text_context,
            "hidden_act": "gelu",
        },
        geometry_encoder_config={**layer, "num_layers": preset.geometry_layers, "roi_size": preset.roi_size},
        detr_encoder_config={**layer, "num_layers": preset.encoder_layers},
        detr_decoder_config={**layer, "num_layers": preset.decoder_layers, "num_queries": preset.num_queries},
        mask_decoder_config={"hidden_size": preset.d_model, "num_attention_heads": preset.heads},
    )


def _vision(preset: Preset) -> dict[str, Any]:
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": preset.vit_embed_dim,
            "intermediate_size": int(preset.vit_embed_dim * preset.vit_mlp_ratio),
            "num_hidden_layers": preset.vit_depth,
            "num_attention_heads": preset.vit_heads,
            "image_size": preset.image_size,
            "patch_size": preset.patch_size,
            "window_size": preset.window_size,
            "global_attn_indexes": list(preset.vit_global_blocks),
            "pretrain_image_size": preset.pretrain_image_size,
            "layer_norm_eps": UPSTREAMS_EPS,
        },
        "fpn_hidden_size": preset.d_model,
        "backbone_feature_sizes": [list(size) for size in preset.feature_sizes],
    }


def _pictures(preset: Preset) -> Any:
    from transformers import Sam3ImageProcessor

    side, masks = preset.image_size, preset.mask_size
    return Sam3ImageProcessor(size={"height": side, "width": side}, mask_size={"height": masks, "width": masks})


def _tokenizer() -> Any:
    """CLIP's, from upstream's vocabulary (sam3/model/tokenizer_ve.py:150)."""
    from sam3.model.tokenizer_ve import bytes_to_unicode
    from transformers import CLIPTokenizer

    from sam3port.model.assemble import vocabulary

    lines = gzip.decompress(vocabulary().read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=merges)


def _trackers(tensors: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """What clicks on a picture need of the whole file."""
    wanted = set(model.state_dict())
    found = {}
    for name, value in tensors.items():
        own = name.removeprefix("tracker_model.")
        own = own.replace("tracker_neck.", "vision_encoder.neck.")
        own = own.replace("detector_model.vision_encoder.backbone.", "vision_encoder.backbone.")
        if own in wanted:
            found[own] = value
    return found


def _load(model: Any, tensors: dict[str, Tensor]) -> None:
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected, unexpected
    assert all("rotary" in name or "rope" in name or name.endswith("position_ids") for name in missing), missing
