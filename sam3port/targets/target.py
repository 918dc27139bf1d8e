"""What a target is: a kind of machine to compile for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class BuildTarget(ABC):
    """Base of all targets. The hook ``sam3port_targets`` delivers the classes; nothing is imported until it is used."""

    name: ClassVar[str]
    """As in ``--target``."""
    summary: ClassVar[str]
    device: ClassVar[str]
    """TVM's name of the device that runs what was built: ``cpu``, ``cuda``, ``metal``."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    """What ``--dtype`` may be: the type that the matrix products compute in."""

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype

    @abstractmethod
    def target(self) -> Any:
        """The ``tvm.target.Target`` to compile for."""

    @abstractmethod
    def optimise(self, module: Any) -> Any:
        """A Relax module, as imported, with the kernels that this machine is good at; legalised, scheduled, fused.

        Runs ``LiftTransformParams`` where it is best, or leaves that to the caller.
        """

    def host(self) -> Any:
        """The ``tvm.target.Target`` of this machine's CPU, which prepares the weights while building."""
        from sam3port.targets.cpu import CpuTarget

        return CpuTarget().target()

    @abstractmethod
    def identity(self) -> str:
        """Everything about machine and target that changes the code; part of the cache's keys. Imports no tvm."""
