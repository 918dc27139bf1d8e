"""The files that people have, written from a model: the names as each program gives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sam3port.model.checkpoints.names_huggingface import HUGGINGFACE
from sam3port.model.checkpoints.names_multiplex import MULTIPLEX
from sam3port.model.checkpoints.parts import in_checkpoint
from sam3port.model.checkpoints.recipes import How

Tensors = dict[str, Tensor]
SECOND_TABLE = "tracker_model.shared_image_embedding.positional_embedding"
FIRST_TABLE = "tracker_model.prompt_encoder.shared_embedding.positional_embedding"


def upstream_tensors(model: Any) -> Tensors:
    """As in ``sam3.pt``."""
    saved = {}
    for name, value in model.state_dict().items():
        if name.endswith("freqs_cis") and not value.is_complex():
            value = torch.view_as_complex(value.reshape(*value.shape[:-1], -1, 2).contiguous())
        saved[in_checkpoint(name)] = value
    return saved


def huggingface_tensors(model: Any) -> Tensors:
    """As in ``model.safetensors``: what upstream's names have and this one cannot hold is lost."""
    found: Tensors = {}
    rows: dict[str, dict[int, Tensor]] = {}
    for name, value in model.state_dict().items():
        recipe = HUGGINGFACE.recipe(in_checkpoint(name))
        if recipe is None:
            continue
        if recipe.how is How.STACKED:
            found |= dict(zip(recipe.names, value.chunk(3), strict=True))
        elif recipe.how is How.ROW:
            rows.setdefault(recipe.names[0], {})[recipe.row] = value
        elif recipe.how is How.TRANSPOSED:
            found[recipe.names[0]] = value.T
        elif recipe.how is How.CLASS_ROW:
            found[recipe.names[0]] = value[:, 1:]
        elif ".points_" not in recipe.names[0]:
            found[recipe.names[0]] = value
    found |= {name: torch.cat([parts[index] for index in range(len(parts))]) for name, parts in rows.items()}
    if FIRST_TABLE in found:
        found[SECOND_TABLE] = found[FIRST_TABLE]
    return {name: value.clone().contiguous() for name, value in found.items()}


def detector_tensors(model: Any) -> Tensors:
    """As `Sam3Model.save_pretrained` writes them: the detector alone, without a prefix."""
    start = "detector_model."
    return {
        name.removeprefix(start): value for name, value in huggingface_tensors(model).items() if name.startswith(start)
    }


def multiplex_tensors(model: Any) -> Tensors:
    """As in ``sam3.1_multiplex.pt``, from a model with three levels; with some of what is for video."""
    found: Tensors = {}
    for key, value in upstream_tensors(model).items():
        if recipe := MULTIPLEX.recipe(key):
            found[recipe.names[0]] = value
    width = model.transformer.d_model
    return found | {
        "detector.backbone.vision_backbone.propagation_convs.0.conv_1x1.weight": torch.zeros(width, 8, 1, 1),
        "tracker.model.sam_mask_decoder.mask_tokens.weight": torch.zeros(48, width),
        "tracker.model.sam_mask_decoder.iou_token.weight": torch.zeros(16, width),
        "tracker.model.image_pe_layer.positional_encoding_gaussian_matrix": torch.zeros(2, width // 2),
        "tracker.model.maskmem_tpos_enc": torch.zeros(7, 1, 1, 16),
    }


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path, metadata={"format": "pt"})
    return path


def write_torch(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path
