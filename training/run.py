"""The first two stages: several processes that average their gradients, a log, checkpoints, resuming."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from torch import multiprocessing as mp

from sam3port.demo.scenes import UNSEEN_PHOTOGRAPHS
from sam3port.errors import UsageError
from sam3port.model.preset import preset
from training.batches import Batch, make_batch
from training.descent import descend
from training.model import Learner
from training.recipe import Recipe
from training.record import log_step, save_whole

CHECKPOINT: Final = "checkpoint.pt"
LOG: Final = "log.jsonl"
_EVERY: Final = 200
"""Steps between checkpoints."""
_JUDGING: Final = 64
"""The seed of the scenes by which a run is watched."""


def train(recipe: Recipe, folder: Path, stop_after: int | None = None) -> None:
    """Runs the recipe, or what is left of it after the last checkpoint in ``folder``.

    Args:
        recipe: the numbers; a run that is resumed must have the same.
        folder: gets the log and the checkpoint.
        stop_after: ends after so many steps, with a checkpoint, as an interruption would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.processes == 1:
        _work(0, recipe, folder, stop_after)
        return
    mp.spawn(_work, (recipe, folder, stop_after), nprocs=recipe.processes)


def _work(rank: int, recipe: Recipe, folder: Path, stop_after: int | None) -> None:
    torch.set_num_threads(1)
    if recipe.processes > 1:
        meeting = folder / f"meeting-{os.getppid()}"
        dist.init_process_group("gloo", f"file://{meeting.absolute()}", rank=rank, world_size=recipe.processes)
    learner = Learner(preset(recipe.preset), recipe.seed)
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay, foreach=True)
    start = _resume(folder, learner, optimiser, recipe)
    last = recipe.total if stop_after is None else min(recipe.total, stop_after)
    began = time.monotonic()
    for step in range(start, last):
        if step == recipe.pixel_steps:
            learner.second_neck_as_first()
        losses = _step(learner, parameters, optimiser, recipe, step, rank)
        if rank == 0:
            if step >= recipe.pixel_steps and (step + 1) % _EVERY == 0:
                losses |= learner.measure(_judging(recipe))
            log_step(folder / LOG, step, losses, time.monotonic() - began)
            if (step + 1) % _EVERY == 0 or step + 1 == last:
                _save(folder, learner, optimiser, recipe, step + 1)
    if recipe.processes > 1:
        dist.barrier()
        dist.destroy_process_group()
        if rank == 0:
            meeting.unlink(missing_ok=True)


def _step(
    learner: Learner, parameters: list[Any], optimiser: Any, recipe: Recipe, step: int, rank: int
) -> dict[str, float]:
    random = np.random.default_rng([recipe.seed, step, rank])
    first = step < recipe.pixel_steps
    images, questions, clicks = (
        (recipe.pixel_images, 1, 1) if first else (recipe.images, recipe.questions, recipe.clicks)
    )
    refines = recipe.refines(step)
    batch = make_batch(random, images, questions, clicks, preset(recipe.preset).mask_size, all_masks=refines)
    positive = recipe.refined_positive if refines else recipe.positive
    losses = learner.pixel_losses(batch) if first else learner.losses(batch, positive)
    share = (lambda: _average(parameters)) if recipe.processes > 1 else None
    return descend(optimiser, parameters, losses, recipe.rate_at(step), recipe.longest_gradient, share)


@functools.cache
def _judging(recipe: Recipe) -> Batch:
    """The scenes by which a run is watched: always the same, on photographs that training does not use."""
    random = np.random.default_rng(_JUDGING)
    side = preset(recipe.preset).mask_size
    return make_batch(random, 64, 3, 1, side, UNSEEN_PHOTOGRAPHS)


def _average(parameters: list[Any]) -> None:
    """Over all processes. A gradient that none has stays absent; where only some have one, the others add zero."""
    own = [parameter.grad for parameter in parameters]
    there = torch.tensor([float(gradient is not None) for gradient in own])
    dist.all_reduce(there)
    anywhere = [parameter for parameter, count in zip(parameters, there.tolist(), strict=True) if count]
    for parameter in anywhere:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in anywhere])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, part in zip(anywhere, flat.split([each.numel() for each in anywhere]), strict=True):
        parameter.grad.copy_(part.view_as(parameter))


def _save(folder: Path, learner: Learner, optimiser: Any, recipe: Recipe, step: int) -> None:
    state = {
        "step": step,
        "recipe": asdict(recipe),
        "learner": learner.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    save_whole(folder / CHECKPOINT, state)


def _resume(folder: Path, learner: Learner, optimiser: Any, recipe: Recipe) -> int:
    file = folder / CHECKPOINT
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state["recipe"] != asdict(recipe):
        raise UsageError(f"{file} is of another recipe: {state['recipe']}", "give another --run, or remove it")
    learner.load_state_dict(state["learner"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
