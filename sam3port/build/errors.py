"""What can go wrong when components are built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sam3port.errors import Sam3PortError


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
