"""The third stage: clicks, with everything else as it is."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3port.artifact.hashes import sha256
from sam3port.demo.scenes import SIDE
from sam3port.errors import UsageError
from sam3port.model.demo_weights import about
from training.click_batches import ClickBatch, corrected, make_click_batch
from training.click_path import PLACES, ClickPath, Seen
from training.descent import descend
from training.losses import click_losses, dice
from training.recipe import Clicks
from training.record import log_step, save_whole

START: Final = "start.safetensors"
"""The weights with which clicks begin, of which they change their own part."""
CHECKPOINT: Final = "clicks.pt"
LOG: Final = "clicks.jsonl"
_EVERY: Final = 200
"""Steps between checkpoints."""
_JUDGING: Final = 65
"""The seed of the scenes by which a run is watched: other scenes, on the photographs that training uses."""
WATCHED: Final = {"1 point": (1, False), "3 points": (3, False), "box": (0, True)}
_LIMIT: Final = 32.0
"""Logits of masks that are corrected, as upstream's predictor clips them (sam1_task_predictor.py:445)."""


class ClickLearner(nn.Module):
    """Upstream's image model, of which only the part for clicks learns, and what only training has."""

    def __init__(self, model: Any, recipe: Clicks) -> None:
        super().__init__()
        self.recipe = recipe
        self.path = ClickPath(model)
        self.learned = dict(self.path.parameters())
        for value in self.learned.values():
            value.requires_grad_(True)
        layers = self.path.decoder.transformer.layers
        torch.manual_seed(recipe.seed)
        self.marks = nn.ModuleList(nn.Linear(layer.norm4.normalized_shape[0], 1) for layer in layers)
        self._places: list[Tensor] = []
        for layer in layers:
            layer.register_forward_hook(lambda _layer, _given, out: self._places.append(out[1]))

    def losses(self, random: np.random.Generator, batch: ClickBatch, correcting: bool) -> dict[str, Tensor]:
        """All of them by name.

        Half of the batches are answered again with one more point where the answer is wrong, half of those with the
        earlier mask.

        Args:
            random: all that is random comes from it.
            batch: the clicks.
            correcting: all batches are answered again, which counts as much as the first time, and so does whether each
                further point is obeyed.
        """
        seen = self.path.see(self.path.neck(self.path.trunk(torch.from_numpy(batch.images))))
        losses, _, best = self._answered(seen, batch, None)
        if random.random() < 0.5 or correcting:
            batch = corrected(random, batch, best.numpy())
            earlier = best[:, None].clamp(-_LIMIT, _LIMIT) if random.random() < 0.5 else None
            again, masks, _ = self._answered(seen, batch, earlier)
            if correcting:
                losses["obeyed"] = torch.zeros(())
                again["obeyed"] = _obeyed(masks, batch)
            losses = {name: value + (1.0 if correcting else 0.5) * again[name] for name, value in losses.items()}
        return losses

    def _answered(
        self, seen: Seen, batch: ClickBatch, earlier: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The losses, all four masks, and the best of three, of which no gradient is asked."""
        which, points, labels, truth = (
            torch.from_numpy(each) for each in (batch.image_of, batch.points, batch.labels, batch.masks)
        )
        masks, ious, there = self.path.answer(seen, which, points, labels, earlier)
        losses = click_losses(masks, ious, there, truth, others=self.recipe.others)
        best = masks[torch.arange(len(masks)), 1 + ious[:, 1:].argmax(1)].detach()
        return {**losses, "marks": self._marked(truth)}, masks, best

    def _marked(self, truth: Tensor) -> Tensor:
        places, self._places = self._places, []
        side = int(places[0].shape[1] ** 0.5)
        covered = F.avg_pool2d(truth[:, None], truth.shape[-1] // side).flatten(1)
        total = truth.new_zeros(())
        for mark, keys in zip(self.marks, places, strict=True):
            logits = mark(keys)[..., 0]
            total = total + F.binary_cross_entropy_with_logits(logits, covered) + 0.25 * dice(logits, covered).mean()
        return total

    @torch.no_grad()
    def measure(self, batches: dict[str, ClickBatch]) -> dict[str, float]:
        """How well batches of clicks are answered, by their names in `WATCHED`.

        Returns:
            of each, how often the mask has an IoU of at least 0.5 with the object, and the mean IoU; of single points
            also the mean IoU after one more where that is wrong, and how often this is obeyed.
        """
        found: dict[str, float] = {}
        for name, batch in batches.items():
            seen = self.path.see(self.path.neck(self.path.trunk(torch.from_numpy(batch.images))))
            alone = WATCHED[name] == (1, False)
            best = self._shown(seen, batch, alone)
            overlap = _overlaps(best, batch)
            found |= {f"{name}, right": (overlap >= 0.5).float().mean().item(), f"{name}, IoU": overlap.mean().item()}
            if alone:
                more = corrected(np.random.default_rng(_JUDGING), batch, best.numpy())
                best = self._shown(seen, more, False)
                labels = torch.from_numpy(more.labels[:, -1])
                obeyed = (_at(best[:, None], torch.from_numpy(more.points[:, -1]))[:, 0] > 0) == (labels > 0)
                found |= {"corrected, IoU": _overlaps(best, more).mean().item()}
                found |= {"corrected, obeyed": obeyed[labels >= 0].float().mean().item()}
        self._places.clear()
        return found

    def _shown(self, seen: Seen, batch: ClickBatch, ambiguous: bool) -> Tensor:
        """(c, side, side) logits: the mask said to be the best of three, or the one of clear prompts."""
        which, points, labels = (torch.from_numpy(each) for each in (batch.image_of, batch.points, batch.labels))
        masks, ious, _ = self.path.answer(seen, which, points, labels)
        return masks[torch.arange(len(masks)), 1 + ious[:, 1:].argmax(1)] if ambiguous else masks[:, 0]


def _overlaps(masks: Tensor, batch: ClickBatch) -> Tensor:
    """The IoU with the object, of clicks on objects."""
    mine, real = masks > 0, torch.from_numpy(batch.masks) >= 0.5
    overlap = (mine & real).sum((1, 2)) / (mine | real).sum((1, 2)).clamp(min=1)
    return overlap[real.any(2).any(1)]


def _obeyed(masks: Tensor, batch: ClickBatch) -> Tensor:
    """How far all masks are from what the last point of each click says of its place."""
    labels = torch.from_numpy(batch.labels[:, -1])
    rows = torch.nonzero(labels >= 0)[:, 0]
    if not len(rows):
        return masks.sum() * 0
    logits = _at(masks, torch.from_numpy(batch.points[:, -1]))[rows]
    return F.binary_cross_entropy_with_logits(logits, labels[rows, None].to(logits).expand_as(logits))


def _at(masks: Tensor, points: Tensor) -> Tensor:
    """(c, m): the values of masks (c, m, side, side) where a point (c, 2), in pixels of the picture, is."""
    side = masks.shape[-1]
    x, y = (points * side / SIDE).long().clamp(0, side - 1).unbind(1)
    return masks[torch.arange(len(masks)), :, y, x]


def begin_with(file: Path, folder: Path) -> None:
    """Puts a copy of the weights into a run's folder, where `train` finds them.

    Raises:
        UsageError: the folder has others, of another run.
    """
    start = folder / START
    if not start.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, start)
    elif sha256(start) != sha256(file):
        raise UsageError(f"{start} is of a run with other weights than {file}", "give another --run, or remove it")


def train(recipe: Clicks, folder: Path, stop_after: int | None = None) -> None:
    """Runs the recipe from the weights `START` in ``folder``, or what is left of it after the last checkpoint there.

    Args:
        recipe: the numbers; a run that is resumed must have the same.
        folder: has `START`, gets the log and the checkpoint.
        stop_after: ends after so many steps, with a checkpoint, as an interruption would.
    """
    from sam3port.model.build import build_model
    from sam3port.model.preset import preset

    torch.set_num_threads(1)
    start = folder / START
    said = about(start)
    if said is None:
        raise UsageError(f"{start} holds no weights that `python -m training pack` writes", "remove it and begin again")
    sizes = preset(said["preset"])
    learner = ClickLearner(build_model(sizes, checkpoint=start), recipe)
    learner.path.begin(recipe.seed, recipe.spread, recipe.gain, recipe.rest)
    parameters = [*learner.learned.values(), *learner.marks.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay, foreach=True)
    first = _resume(folder, learner, optimiser, recipe)
    last = recipe.total if stop_after is None else min(recipe.total, stop_after)
    watched = {
        name: make_click_batch(np.random.default_rng(_JUDGING), recipe.watched, 3, sizes.mask_size, kind=kind)
        for name, kind in WATCHED.items()
    }
    began = time.monotonic()
    for step in range(first, last):
        random = np.random.default_rng([recipe.seed, 3, step])
        batch = make_click_batch(random, recipe.images, recipe.clicks, sizes.mask_size)
        losses = learner.losses(random, batch, step >= recipe.correcting)
        values = descend(optimiser, parameters, losses, recipe.rate_at(step), recipe.longest_gradient)
        if (step + 1) % _EVERY == 0 or step + 1 == last:
            values |= learner.measure(watched)
            _save(folder, learner, optimiser, recipe, step + 1)
        log_step(folder / LOG, step, values, time.monotonic() - began)


def learned(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], int]:
    """What a run has changed, by name in upstream's model; its recipe; after how many steps.

    Raises:
        UsageError: the folder has no checkpoint of clicks.
    """
    file = folder / CHECKPOINT
    if not file.exists():
        raise UsageError(
            f"{folder} has no {CHECKPOINT}", "train clicks first, or go on with a run that was interrupted"
        )
    state = torch.load(file, weights_only=True)
    return state["learned"], state["recipe"], int(state["step"])


def _save(folder: Path, learner: ClickLearner, optimiser: Any, recipe: Clicks, step: int) -> None:
    state = {
        "step": step,
        "recipe": asdict(recipe),
        "start": sha256(folder / START),
        "learned": {name: value.detach() for name, value in learner.learned.items()}
        | {PLACES: learner.path.model.get_buffer(PLACES)},
        "marks": learner.marks.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    save_whole(folder / CHECKPOINT, state)


def _resume(folder: Path, learner: ClickLearner, optimiser: Any, recipe: Clicks) -> int:
    file = folder / CHECKPOINT
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state["recipe"] != asdict(recipe) or state["start"] != sha256(folder / START):
        raise UsageError(f"{file} is of another recipe or start: {state['recipe']}", "give another --run, or remove it")
    learner.path.model.load_state_dict(state["learned"], strict=False)
    learner.marks.load_state_dict(state["marks"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
