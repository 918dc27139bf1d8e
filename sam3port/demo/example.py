"""The demo's scene, what is asked about it, and how well an answer fits the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3port.demo.scenes import UNSEEN_PHOTOGRAPHS, Scene, draw_scene

_SEED: Final = 395
_SCALE: Final = 4
LEAST_IOU: Final = 0.5
"""From here on an object counts as found."""


@dataclass(frozen=True, slots=True)
class Example:
    scene: Scene
    there: str
    """What is asked for and to be found."""
    absent: str
    """What is asked for and not there."""


def example() -> Example:
    """Always the same; on a photograph that training did not use."""
    scene = draw_scene(np.random.default_rng(_SEED), UNSEEN_PHOTOGRAPHS, _SCALE)
    return Example(scene, "green circle", "red circle")


def judged(shown: Example, text: str, folder: Path) -> tuple[str, bool]:
    """What was found beside the truth, for people, and whether it is right.

    Args:
        shown: what was asked about.
        text: what was asked for.
        folder: with the masks that ``sam3port segment`` wrote; it does not exist where nothing was found.
    """
    truth = [drawn for drawn in shown.scene.objects if set(text.split()) <= set(drawn.kind.words)]
    masks = [np.asarray(Image.open(file)) > 0 for file in sorted(folder.glob("*.png"))]
    if not truth:
        right = not masks
        found = "and nothing was found" if right else f"but {len(masks)} were found"
        return f"The scene has no {text}, {found}.", right
    overlaps = [max((_overlap(drawn.mask, mask) for mask in masks), default=0.0) for drawn in truth]
    right = min(overlaps) >= LEAST_IOU and len(masks) == len(truth)
    listed = ", ".join(f"{value:.3f}" for value in overlaps)
    return f"{text}: {len(truth)} in the scene, {len(masks)} found; IoU with the drawn truth {listed}.", right


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))
