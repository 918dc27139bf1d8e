"""What can go wrong between upstream's source and a compiled library."""

from __future__ import annotations

from sam3port.errors import Sam3PortError
from sam3port.port.stage import Stage


class StageError(Sam3PortError):
    """A stage of a component failed."""

    def __init__(self, component: str, stage: Stage, problem: str, remedy: str = "") -> None:
        super().__init__(f"{component}: {stage} failed: {problem}", remedy)
        self.component = component
        self.stage = stage


class UnsupportedOperator(Sam3PortError):
    """An operator of the exported program has no converter, or one that does not cover these arguments."""


class InputError(Sam3PortError):
    """What a compiled component was given does not fit what it was built for."""
