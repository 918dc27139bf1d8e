"""What a build tells about itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from sam3port.compiler.stage import Stage

MODEL: Final = "model"
"""The whole of the components, where a `Step` is about them together."""
LINK: Final = "link"
"""What happens to it: besides the stages of components."""


class State(StrEnum):
    """What happens to a stage of a component."""

    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of a component changed its state."""

    component: str
    """Or `MODEL`."""
    stage: Stage | str
    """Or `LINK`."""
    state: State
    seconds: float = 0.0
    memory: int = 0
    """The most that the process that does it has used so far, bytes."""


class Progress(Protocol):
    """Who shows a build to people."""

    def step(self, step: Step) -> None:
        """A stage starts, is done, was found in the cache, or failed."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def count(self, component: str, stage: Stage, done: int, of: int) -> None:
        """How many of its parts (kernels) a stage that runs has done."""

    def memory(self, used: int) -> None:
        """How much memory all processes of the build use now, bytes. Called a few times a second."""


class Silent:
    """Shows nothing."""

    def step(self, step: Step) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def count(self, component: str, stage: Stage, done: int, of: int) -> None:
        pass

    def memory(self, used: int) -> None:
        pass
