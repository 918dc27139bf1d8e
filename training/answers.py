"""Who answers questions about scenes: upstream in PyTorch, or an artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.questions import VISUAL, Click, Question


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: of a question the objects with a score above the threshold, of a click its three masks or one."""

    masks: NDArray[np.bool_]
    """(n, height, width)."""
    scores: NDArray[np.float32]
    """(n,)."""
    queries: NDArray[np.int64]
    """(n,): which of the model's queries found each."""


class Seen(Protocol):
    """A scene that a model has seen."""

    def ask(self, question: Question) -> Found: ...

    def click(self, click: Click) -> Found: ...


See = Callable[[NDArray[np.uint8]], Seen]

THRESHOLD = 0.5


def artifact(folder: Path) -> See:
    """The artifact in a folder answers, by `sam3port.load`."""
    import sam3port

    model = sam3port.load(folder)

    class Scene:
        def __init__(self, pixels: NDArray[np.uint8]) -> None:
            self._image = model.encode_image(Image.fromarray(pixels))

        def ask(self, question: Question) -> Found:
            result = self._image.segment(
                text=None if question.text == VISUAL else question.text,
                boxes=question.boxes or None,
                box_labels=question.box_labels or None,
                points=question.points or None,
                point_labels=question.point_labels or None,
                threshold=THRESHOLD,
            )
            return Found(result.masks, result.scores, result.queries)

        def click(self, click: Click) -> Found:
            result = self._image.click(
                points=click.points or None,
                point_labels=click.labels or None,
                box=click.box,
                multimask=_ambiguous(click),
            )
            return Found(result.masks, result.scores, np.arange(len(result.scores)))

    return Scene


def upstream(model: Any, image_size: int) -> See:
    """Upstream's model answers, by its own `Sam3Processor` and interactive predictor."""
    import torch
    from sam3.model.sam3_image_processor import Sam3Processor

    # Points go where `add_geometric_prompt` puts boxes: the processor takes none, the model does.
    processor: Any = Sam3Processor(model, resolution=image_size, device="cpu", confidence_threshold=THRESHOLD)
    ground = model.forward_grounding
    scores = np.zeros(0, np.float32)

    def remembering(**given: Any) -> Any:
        nonlocal scores
        out = ground(**given)
        both = out["pred_logits"].sigmoid() * out["presence_logit_dec"].sigmoid().unsqueeze(1)
        scores = both[0, :, 0].numpy()
        return out

    model.forward_grounding = remembering

    class Scene:
        def __init__(self, pixels: NDArray[np.uint8]) -> None:
            self._height, self._width = pixels.shape[:2]
            with torch.inference_mode():
                self._state = processor.set_image(Image.fromarray(pixels))

        @torch.inference_mode()
        def ask(self, question: Question) -> Found:
            state, size = self._state, np.array([self._width, self._height])
            processor.reset_all_prompts(state)
            if question.text != VISUAL:
                processor.set_text_prompt(question.text, state)
            for box, label in zip(question.boxes, question.box_labels, strict=True):
                corners = np.array(box).reshape(2, 2) / size
                whole = [*corners.mean(0), *(corners[1] - corners[0])]
                processor.add_geometric_prompt([float(value) for value in whole], label, state)
            if question.points:
                if "language_features" not in state["backbone_out"]:
                    state["backbone_out"].update(model.backbone.forward_text([VISUAL], device="cpu"))
                if "geometric_prompt" not in state:
                    state["geometric_prompt"] = model._get_dummy_prompt()
                places = torch.tensor(np.array(question.points) / size, dtype=torch.float32)[:, None]
                labels = torch.tensor(question.point_labels)[:, None]
                state["geometric_prompt"].append_points(places, labels)
                processor._forward_grounding(state)
            return Found(
                state["masks"][:, 0].numpy(), state["scores"].numpy(), np.flatnonzero(scores > np.float32(THRESHOLD))
            )

        @torch.inference_mode()
        def click(self, click: Click) -> Found:
            masks, quality, _ = model.predict_inst(
                self._state,
                point_coords=np.array(click.points) if click.points else None,
                point_labels=np.array(click.labels, np.int64) if click.points else None,
                box=None if click.box is None else np.array(click.box),
                multimask_output=_ambiguous(click),
            )
            return Found(masks > 0, quality, np.arange(len(quality)))

    return Scene


def _ambiguous(click: Click) -> bool:
    """A single point can mean several things."""
    return len(click.points) == 1 and click.box is None
