"""Upstream's model as it learns: torch's own initial weights, and what is computed in a step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sam3port.model.preset import Preset
from training.batches import PARTS, Batch
from training.click_path import ClickPath
from training.losses import click_losses, grounding_losses
from training.questions import VISUAL


class Learner(nn.Module):
    """Upstream's image model, and classifiers of what is inside it, which only training has."""

    def __init__(self, preset: Preset, seed: int) -> None:
        super().__init__()
        self.model: Any = initial_model(preset, seed)
        classes = sum(len(values) + 1 for values in PARTS.values())
        self.fine, self.coarse = (nn.Conv2d(preset.d_model, classes, 1) for _ in range(2))
        self.fused = nn.Linear(preset.d_model, 1)

    def pixel_losses(self, batch: Batch) -> dict[str, Tensor]:
        """What the pyramid's features do not tell about every place of the image."""
        features = self.model.backbone.vision_backbone(torch.from_numpy(batch.images))[0]
        return {"pixels": self._pixels(features[:3], batch)}

    def losses(self, batch: Batch, positive: float) -> dict[str, Tensor]:
        """All of them by name, not weighted; ``positive`` as for `grounding_losses`."""
        backbone = self.model.backbone.forward_image(torch.from_numpy(batch.images))
        losses = {"pixels": self._pixels(backbone["backbone_fpn"], batch)}
        out = self._ground(backbone, batch)
        losses |= grounding_losses(out, batch, positive)
        losses["tokens"] = self._tokens(out["encoder_hidden_states"], batch)
        losses |= self._click_losses(backbone["sam2_backbone_out"]["backbone_fpn"], batch)
        return losses

    @torch.no_grad()
    def measure(self, batch: Batch) -> dict[str, float]:
        """How well a batch is answered, on masks of the model's own size.

        Returns:
            what part of the objects is found (score and IoU at least 0.5), the mean IoU of those, what part of the
            answers is right, and how often "something" and "nothing" are.
        """
        backbone = self.model.backbone.forward_image(torch.from_numpy(batch.images))
        self.model.training = False
        out = self._ground(backbone, batch, everything=True)
        self.model.training = True
        scores = out["pred_logits"][..., 0].sigmoid() * out["presence_logit_dec"].sigmoid().view(-1, 1)
        found = overlap = objects = answers = right = presence = 0.0
        for row, truth in enumerate(batch.masks):
            mine = (out["pred_masks"][row][scores[row] > 0.5] > 0).flatten(1).double()
            real = torch.from_numpy(truth >= 0.5).flatten(1).double()
            shared = real @ mine.T
            ious = shared / (real.sum(1)[:, None] + mine.sum(1)[None] - shared).clamp(min=1)
            best = ious.amax(1) if len(mine) else torch.zeros(len(real))
            found += float((best >= 0.5).sum())
            overlap += float(best[best >= 0.5].sum())
            right += float((ious.amax(0) >= 0.5).sum()) if len(real) else 0.0
            objects, answers = objects + len(real), answers + len(mine)
            presence += (len(real) > 0) == (len(mine) > 0)
        return {
            "recall": found / max(objects, 1),
            "iou": overlap / max(found, 1),
            "precision": right / max(answers, 1),
            "measured presence": presence / len(batch.masks),
        }

    def second_neck_as_first(self) -> None:
        """The neck for clicks starts with what the detector's has learned."""
        neck = self.model.backbone.vision_backbone
        neck.sam2_convs.load_state_dict(neck.convs.state_dict())

    def _pixels(self, features: list[Tensor], batch: Batch) -> Tensor:
        return _class_loss(self.fine(features[0]), batch.parts) + _class_loss(
            self.coarse(features[2]), batch.coarse_parts
        )

    def _tokens(self, memory: Tensor, batch: Batch) -> Tensor:
        """Whether each patch, once it has seen the prompt, knows how much of it belongs to the answer."""
        return F.binary_cross_entropy_with_logits(self.fused(memory)[..., 0].T, torch.from_numpy(batch.covered))

    def _ground(self, backbone: dict[str, Any], batch: Batch, everything: bool = False) -> dict[str, Any]:
        from sam3.model.geometry_encoders import Prompt

        different = sorted(set(batch.texts))
        backbone |= self.model.backbone.forward_text(different, device="cpu")
        find = SimpleNamespace(
            img_ids=torch.from_numpy(batch.image_of),
            text_ids=torch.tensor([different.index(text) for text in batch.texts]),
        )
        prompt = Prompt(
            box_embeddings=torch.from_numpy(batch.boxes),
            box_mask=torch.from_numpy(batch.box_mask),
            box_labels=torch.from_numpy(batch.box_labels),
            point_embeddings=torch.from_numpy(batch.points),
            point_mask=torch.from_numpy(batch.point_mask),
            point_labels=torch.from_numpy(batch.point_labels),
        )
        self.model.answered = torch.arange(len(batch.texts)) if everything else torch.from_numpy(batch.masked)
        out: dict[str, Any] = self.model.forward_grounding(
            backbone_out=backbone, find_input=find, find_target=None, geometric_prompt=prompt
        )
        return out

    def _click_losses(self, pyramid: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        path = ClickPath(self.model)
        seen = path.see(pyramid)
        which, points, labels, truth = (
            torch.from_numpy(each)
            for each in (batch.click_image_of, batch.clicks, batch.click_labels, batch.click_masks)
        )
        masks, ious, there = path.answer(seen, which, points, labels)
        losses = click_losses(masks, ious, there, truth)
        best = masks[torch.arange(len(masks)), 1 + ious[:, 1:].argmax(1)]
        earlier = best.detach()[:, None].clamp(-32, 32)
        again = click_losses(*path.answer(seen, which, points, labels, earlier), truth)
        return {name: value + 0.5 * again[name] for name, value in losses.items()}


def _class_loss(logits: Tensor, truth: dict[str, NDArray[np.int64]]) -> Tensor:
    total = logits.new_zeros(())
    parts = logits.split([len(values) + 1 for values in PARTS.values()], 1)
    for (name, values), part in zip(PARTS.items(), parts, strict=True):
        weight = torch.tensor([0.3, *[1.0] * len(values)])
        total = total + F.cross_entropy(part, torch.from_numpy(truth[name]), weight)
    return total


class Words(nn.Module):
    """Vectors of tokens: those of some can learn, all others stay as seeded weights have them."""

    def __init__(self, table: Tensor, learned: list[int]) -> None:
        """
        Args:
            table: (vocabulary, width).
            learned: ids of the tokens that can learn.
        """
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.learned = learned
        place = torch.zeros(len(table), dtype=torch.int64)
        place[learned] = torch.arange(1, len(learned) + 1)
        self.register_buffer("place", place, persistent=False)
        self.rows = nn.Parameter(table[learned].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        place = self.place[tokens]
        own = self.rows[(place - 1).clamp(min=0)]
        return torch.where(place[..., None] > 0, own, self.table[tokens])


def initial_model(preset: Preset, seed: int) -> Any:
    """`Sam3Image` as upstream's classes initialise themselves; words get the vectors that seeded weights have."""
    from sam3port.model.assemble import assemble
    from sam3port.model.build import _leave_autocast
    from sam3port.patching import install

    if install.current() is None:
        install.install()
    torch.manual_seed(seed)
    model: Any = assemble(preset, interactive=True)
    _leave_autocast(model)
    text = model.backbone.language_backbone.encoder
    # Upstream leaves these as memory was found.
    nn.init.normal_(text.positional_embedding, std=0.01)
    if text.text_projection is not None:
        nn.init.normal_(text.text_projection, std=preset.text_width**-0.5)
    text.token_embedding = Words(_seeded_words(preset), _own_tokens(model))
    model.eval()
    # This module alone: all layers' answers, twice the queries; dropout and the checkpoints of activations stay off.
    model.training = True
    model.segmentation_head.act_ckpt = False
    head = model._run_segmentation_heads

    def of_some(**given: Any) -> None:
        """Masks of a few questions: they cost as much as all before."""
        some = model.answered
        if not len(some):
            return
        given["img_ids"] = given["img_ids"][some]
        for name in ("encoder_hidden_states", "prompt"):
            given[name] = given[name][:, some]
        given["prompt_mask"], given["hs"] = given["prompt_mask"][some], given["hs"][:, some]
        head(**given)

    model._run_segmentation_heads = of_some
    model.back_convert = lambda targets: targets
    model._compute_matching = lambda *_: None
    return model


def _seeded_words(preset: Preset) -> Tensor:
    from sam3port.model.build import build_model

    table: Tensor = build_model(preset, seed=0).backbone.language_backbone.encoder.token_embedding.weight
    return table.detach()


def _own_tokens(model: Any) -> list[int]:
    """Of all words of the scenes' language, and what begins and ends every text."""
    words = [VISUAL, *(word for values in PARTS.values() for word in values)]
    tokens = model.backbone.language_backbone.tokenizer(" ".join(words), context_length=64)
    return sorted({int(token) for token in tokens.flatten()})
