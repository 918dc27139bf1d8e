"""Batches of clicks: many on each scene, so that one picture has several right answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sam3port.demo.scenes import SIDE, TRAINING_PHOTOGRAPHS, draw_scene
from training.batches import KINDS_OF_CLICKS, as_input, click_arrays, shrunk
from training.questions import click

_NO_POINT: Final = -1
"""The label by which upstream's prompt encoder knows padding."""


@dataclass(frozen=True, slots=True)
class ClickBatch:
    images: NDArray[np.float32]
    """(n, 3, SIDE, SIDE), -1..1, as the model takes it."""
    image_of: NDArray[np.int64]
    """(c,): which image each click is on."""
    points: NDArray[np.float32]
    """(c, p, 2) x, y in pixels; a box is two of them."""
    labels: NDArray[np.int64]
    """(c, p): 1, 0, 2 and 3 for a box's corners, -1 for none."""
    masks: NDArray[np.float32]
    """(c, side, side): how much of each place belongs to the object; zeros for a click on the background."""


def make_click_batch(
    random: np.random.Generator,
    images: int,
    clicks: int,
    side: int,
    photographs: tuple[str, ...] = TRAINING_PHOTOGRAPHS,
    kind: tuple[int, bool] | None = None,
) -> ClickBatch:
    """
    Args:
        random: all that is random comes from it.
        images: how many scenes.
        clicks: how many on each: on its objects in turn.
        side: of the masks.
        photographs: the backgrounds.
        kind: how many points all have, and whether a box; a random one unless given.
    """
    points, boxed = kind or KINDS_OF_CLICKS[int(random.integers(len(KINDS_OF_CLICKS)))]
    scenes = [draw_scene(random, photographs) for _ in range(images)]
    clicked = [
        click(random, scene, points, boxed, number % len(scene.objects)) for scene in scenes for number in range(clicks)
    ]
    small = [[shrunk(drawn.mask, side) for drawn in scene.objects] for scene in scenes]
    image_of = np.repeat(np.arange(images), clicks)
    nothing = np.zeros((side, side), np.float32)
    arrays = click_arrays(clicked)
    return ClickBatch(
        images=as_input(np.stack([scene.pixels for scene in scenes])),
        image_of=image_of,
        points=arrays["clicks"],
        labels=arrays["click_labels"],
        masks=np.stack(
            [nothing if each.answer < 0 else small[at][each.answer] for at, each in zip(image_of, clicked, strict=True)]
        ),
    )


def corrected(random: np.random.Generator, batch: ClickBatch, answers: NDArray[np.float32]) -> ClickBatch:
    """The clicks with one more point each, where the answer is wrong: what lacks is pointed at, what is too much is
    taken away.

    Args:
        random: all that is random comes from it.
        batch: the clicks.
        answers: (c, side, side), logits.
    """
    truth = batch.masks >= 0.5
    wrong = truth != (answers > 0)
    side = wrong.shape[-1]
    points, labels = np.zeros((len(wrong), 1, 2), np.float32), np.full((len(wrong), 1), _NO_POINT)
    for row, places in enumerate(wrong):
        if places.any():
            down, across = divmod(int(random.choice(np.flatnonzero(places))), side)
            points[row, 0] = (np.array([across, down]) + random.random(2)) * SIDE / side
            labels[row, 0] = truth[row, down, across]
    return replace(
        batch, points=np.concatenate([batch.points, points], 1), labels=np.concatenate([batch.labels, labels], 1)
    )
