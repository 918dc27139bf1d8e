"""What can go wrong between upstream's source and a compiled library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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


class BuildFailed(Sam3PortError):
    """One or more components could not be built; what was in their folders before is still there."""

    @classmethod
    def of(cls, failures: Mapping[str, str], count: int, log_file: Path) -> BuildFailed:
        """The error of these components among ``count``."""
        listed = "\n  ".join(failures.values())
        return cls(f"{len(failures)} of {count} components could not be built:\n  {listed}", see_log(log_file))


def see_log(log_file: Path) -> str:
    """Where people find more."""
    return f"{log_file} has all that was printed"
