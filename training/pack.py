"""The weights of a finished run as the file that sam3port brings."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sam3port.model.demo_weights import KIND, ROWS
from sam3port.model.preset import preset
from training.click_path import PLACES
from training.click_run import START, learned
from training.model import Learner, Words
from training.recipe import Recipe
from training.run import CHECKPOINT

_WORDS = "backbone.language_backbone.encoder.token_embedding"


def pack(folder: Path, file: Path) -> None:
    """Writes the weights of a finished run: those with which clicks began, and what they have learned.

    Args:
        folder: of the run.
        file: to write.

    Raises:
        UsageError: clicks have not been trained there.
    """
    changed, recipe, step = learned(folder)
    with safe_open(folder / START, "pt") as start:
        said = start.metadata()
        tensors = {name: start.get_tensor(name) for name in start.keys()}  # noqa: SIM118 - it is no dictionary
    of_clicks = {
        "clicks step": f"{step} of {recipe['total']}",
        "clicks recipe": json.dumps(recipe),
        "clicks commit": _commit(),
    }
    _write(file, tensors | changed, said | of_clicks)


def pack_start(folder: Path) -> None:
    """Writes the weights of a run's first two stages as `START`, with which clicks begin."""
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    recipe = Recipe(**state["recipe"])
    learner = Learner(preset(recipe.preset), recipe.seed)
    learner.load_state_dict(state["learner"])
    metadata = {
        "kind": KIND,
        "preset": recipe.preset,
        "step": f"{state['step']} of {recipe.total}",
        "recipe": json.dumps(asdict(recipe)),
        "commit": _commit(),
        "made by": "python -m training train && python -m training pack",
    }
    _write(folder / START, trained(learner, state["optimiser"]), metadata)


def _write(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".new")
    save_file(tensors, aside, metadata)
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
    tensors[PLACES] = learner.model.get_buffer(PLACES)
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
