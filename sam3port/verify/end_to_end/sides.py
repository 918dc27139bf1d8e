"""Who answers in a proof end to end."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sam3port.verify.precision import PRECISIONS


class Side(StrEnum):
    """Who answers."""

    UPSTREAM = "upstream"
    ARTIFACT = "artifact"
    AUTOCAST = "autocast"
    """Upstream under PyTorch's bfloat16 autocast: the measure of an artifact in bfloat16."""


MODULES: Final = {
    Side.UPSTREAM: "sam3port.verify.end_to_end.run_upstream",
    Side.ARTIFACT: "sam3port.verify.end_to_end.run_artifact",
    Side.AUTOCAST: "sam3port.verify.end_to_end.run_upstream",
}


def sides_for(dtype: str) -> tuple[Side, ...]:
    """The sides of a proof of what is computed in ``dtype``."""
    return tuple(side for side in Side if side is not Side.AUTOCAST or PRECISIONS[dtype].autocast)
