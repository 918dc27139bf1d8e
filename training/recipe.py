"""How the weights that come with sam3port were trained: every number of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Recipe:
    """A run: first the features alone, by what is to be seen at every place; then all that the model answers."""

    preset: str = "tiny"
    seed: int = 19
    """Of the initial weights and of every scene."""
    pixel_steps: int = 600
    pixel_images: int = 16
    """Scenes of a step, in each process."""
    pixel_rate: float = 1.5e-3
    steps: int = 2200
    images: int = 8
    questions: int = 4
    """About each scene."""
    clicks: int = 2
    positive: float = 5.0
    """How much more a query that found something counts than one that did not."""
    refining: int = 1200
    """From this step of the second stage on, masks are compared for all questions, not for one about each scene; and
    false alarms count more."""
    refined_positive: float = 2.5
    rate: float = 8e-4
    """The learning rate of AdamW, after the warm-up and until it falls to zero at the end."""
    warm_up: int = 100
    fall: tuple[int, int] = (1500, 2500)
    """From which step of the second stage on it falls along a cosine, and where that would end. In the first stage the
    fall takes all of it."""
    last: int = 400
    """In the last steps it falls to zero in a line, besides."""
    decay: float = 0.02
    longest_gradient: float = 1.0
    processes: int = 2
    """Each with one thread and scenes of its own; their gradients are averaged."""

    @property
    def total(self) -> int:
        return self.pixel_steps + self.steps

    def refines(self, step: int) -> bool:
        return step >= self.pixel_steps + self.refining

    def rate_at(self, step: int) -> float:
        """Of both stages: up in a line, then level, then down."""
        if step < self.pixel_steps:
            return self.pixel_rate * self._part(step, self.warm_up, self.pixel_steps)
        at = step - self.pixel_steps
        return self.rate * self._part(at, *self.fall) * min(1.0, (self.steps - at) / self.last)

    def _part(self, at: int, begin: int, end: int) -> float:
        """Of the highest rate, with a fall between two steps."""
        if at < self.warm_up:
            return (at + 1) / self.warm_up
        left = (end - at) / max(end - begin, 1)
        return 0.5 * (1 - math.cos(math.pi * min(left, 1.0)))

    def shortened(self, steps: int) -> Recipe:
        """A trial: so many steps, a fourth of them for the features, of few scenes each."""
        first = steps // 4
        few = {"pixel_images": 2, "images": 1, "questions": 2, "clicks": 1}
        last = {"refining": steps // 2, "fall": (steps // 2, steps), "last": steps // 8}
        return replace(self, pixel_steps=first, steps=steps - first, warm_up=steps // 20 or 1, **few, **last)


@dataclass(frozen=True, slots=True)
class Clicks:
    """The third stage: what clicks alone use, from new weights, on features that no longer change."""

    seed: int = 19
    """Of the initial weights and of every scene."""
    spread: float = 0.5
    gain: float = 2.0
    rest: float = 0.3
    """These three of the initial weights: `training.click_path.ClickPath.begin`."""
    total: int = 2000
    """Steps."""
    correcting: int = 1500
    """From this step on, every answer is corrected by a further point, and whether that is obeyed counts, too."""
    images: int = 12
    """Scenes of a step."""
    clicks: int = 8
    """On each scene."""
    others: float = 0.3
    """`training.losses.click_losses`."""
    rate: float = 2e-3
    """The learning rate of AdamW, after the warm-up and until it falls along a cosine."""
    correcting_rate: float = 1.2e-3
    """The same once answers are corrected; it falls, too."""
    warm_up: int = 100
    decay: float = 0.02
    longest_gradient: float = 1.0
    watched: int = 128
    """Scenes by which the run is watched."""

    def rate_at(self, step: int) -> float:
        begin, end, rate = (
            (0, self.correcting, self.rate)
            if step < self.correcting
            else (self.correcting, self.total, self.correcting_rate)
        )
        level = 0.5 * (1 + math.cos(math.pi * (step - begin) / (end - begin)))
        return rate * level * min(1.0, (step + 1) / self.warm_up)

    def shortened(self, steps: int) -> Clicks:
        """A trial: so many steps, of few scenes each."""
        return replace(
            self, total=steps, correcting=steps * 3 // 4, images=4, clicks=4, warm_up=steps // 20 or 1, watched=4
        )


DEMO: Final = Recipe()
CLICKS: Final = Clicks()
