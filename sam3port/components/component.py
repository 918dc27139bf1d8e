"""What a component is: one stage of SAM 3 as tensors in, tensors out, and everything needed to build and prove it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sam3port.artifact.interface import Arrays, Capacity, TensorSpec

if TYPE_CHECKING:
    import torch

    from sam3port.model.preset import Preset

__all__ = ["Arrays", "Capacity", "Component", "TensorSpec", "Tolerance"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an output may be from upstream's, element by element: ``|a - b| <= atol + rtol * |b|``.

    Besides this, the error against a float64 run may be at most ``sam3port.verify`` 's ratio times PyTorch's own.
    """

    rtol: float = 1e-4
    atol: float = 1e-4


class Component(ABC):
    """Base of all components. Subclasses declare; `sam3port.build` and `sam3port.verify` do the work.

    A third party's component implements the same; the hook ``sam3port_components`` delivers the classes.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    upstream: ClassVar[str]
    """Class and file of upstream that it wraps."""
    tolerance: ClassVar[Tolerance] = Tolerance()
    clicks: ClassVar[bool] = False
    """Whether it belongs to what answers clicks, for which not every checkpoint has weights."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity()

    @abstractmethod
    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        """The arguments of `module`'s forward, in order."""

    @abstractmethod
    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        """What `module`'s forward returns, a tuple in this order."""

    @abstractmethod
    def module(self, model: torch.nn.Module, preset: Preset) -> torch.nn.Module:
        """A tensor-only wrapper of the stage: ``forward(*inputs) -> tuple[Tensor, ...]``.

        It holds the stage's own modules (never copies), so that its state dict is the stage's parameters. It must run
        on upstream with only the portability patches: that run is the reference of the proof.
        """

    @abstractmethod
    def example(self, preset: Preset, seed: int) -> Arrays:
        """Inputs from a seed, distributed like what the stage sees in a trained model; differs with every seed."""

    def edges(self, preset: Preset) -> Mapping[str, Arrays]:
        """Named inputs at the edges: no prompts, one, capacity, all padding, extreme coordinates."""
        return {}
