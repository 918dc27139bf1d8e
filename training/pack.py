"""The weights of a finished run as the file that sam3port brings."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sam3port.model.demo_weights import KIND, ROWS
from sam3port.model.preset import preset
from training.model import Learner, Words
from training.recipe import Recipe
from training.run import CHECKPOINT

_WORDS = "backbone.language_backbone.encoder.token_embedding"
_FREQUENCIES = "inst_interactive_predictor.model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
"""Random and not learned, but what was learned depends on it."""


def pack(folder: Path, file: Path) -> None:
    """Writes what training has changed in a run.

    Args:
        folder: of the run.
        file: to write.
    """
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    recipe = Recipe(**state["recipe"])
    learner = Learner(preset(recipe.preset), recipe.seed)
    learner.load_state_dict(state["learner"])
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "kind": KIND,
        "preset": recipe.preset,
        "step": f"{state['step']} of {recipe.total}",
        "recipe": json.dumps(asdict(recipe)),
        "commit": _commit(),
        "made by": "python -m training train && python -m training pack",
    }
    aside = file.with_suffix(".new")
    save_file(trained(learner, state["optimiser"]), aside, metadata)
    aside.chmod(0o644)  # safetensors lets nobody else read it
    aside.replace(file)


def trained(learner: Learner, optimiser: dict[str, Any]) -> dict[str, Tensor]:
    """By name in upstream's model: the parameters for which the optimiser keeps a state, so has moved.

    Of the vocabulary only the rows of the scenes' language, with their places.
    """
    names = [name for name, parameter in learner.named_parameters() if parameter.requires_grad]
    moved = [names[index] for index in sorted(optimiser["state"])]
    values = dict(learner.named_parameters())
    tensors: dict[str, Tensor] = {}
    for name in moved:
        inside = name.removeprefix("model.")
        if inside == name:  # the classifiers, which only training needs
            continue
        if inside == f"{_WORDS}.rows":
            words: Words = learner.model.get_submodule(_WORDS)
            tensors[f"{_WORDS}.weight{ROWS}"] = words.rows.detach()
            tensors[f"{_WORDS}.weight{ROWS}.at"] = torch.tensor(words.learned)
        else:
            tensors[inside] = values[name].detach().contiguous()
    tensors[_FREQUENCIES] = learner.model.get_buffer(_FREQUENCIES)
    return tensors


def _commit() -> str:
    """Of this repository."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
