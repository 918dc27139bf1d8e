"""The inputs of a proof: several seeds and the component's edges, none of them what the build was traced with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sam3port.artifact.interface import Arrays
from sam3port.components.component import Component
from sam3port.model.preset import Preset

FIRST_SEED: Final = 1000
"""A build traces with seed 0; a proof's seeds count from here."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input of one component."""

    component: str
    name: str
    """``seed 1000`` or the name of the edge."""
    inputs: Arrays

    @property
    def key(self) -> str:
        """Its file's name."""
        plain = "".join(c if c.isalnum() else "-" for c in self.name)
        return f"{self.component}--{plain}"


def cases(component: Component, preset: Preset, seeds: int) -> Iterator[Case]:
    """``seeds`` random inputs, then every edge."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        yield Case(component.name, f"seed {seed}", component.example(preset, seed))
    for name, inputs in component.edges(preset).items():
        yield Case(component.name, name, inputs)
