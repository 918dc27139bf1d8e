"""What a target is: a kind of machine to compile for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sam3port.tuning.record import TunedSchedule


class BuildTarget(ABC):
    """Base of all targets. The hook ``sam3port_targets`` delivers the classes; nothing is imported until it is used."""

    name: ClassVar[str]
    """As in ``--target``."""
    summary: ClassVar[str]
    device: ClassVar[str]
    """TVM's name of the device that runs what was built: ``cpu``, ``cuda``, ``metal``."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    """What ``--dtype`` may be: the type that the matrix products compute in."""
    options: ClassVar[tuple[str, ...]] = ()
    """What else can be chosen: names of `sam3port.build.request.TARGET_OPTIONS`, ``mcpu`` for ``--mcpu``."""

    def __init__(self, dtype: str = "float32", options: Mapping[str, str] | None = None) -> None:
        self.dtype = dtype
        self.chosen = dict(options or {})
        """The value of each option that was given."""
        self.tuned: tuple[TunedSchedule, ...] = ()
        """Measured schedules of any machine, for `optimise` to choose from. A target that does so says in `identity`
        which they are."""

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
        from sam3port.targets.host import host_target

        return host_target()

    @abstractmethod
    def identity(self) -> str:
        """Everything about machine and target that changes the code; part of the cache's keys. Imports no tvm."""

    def check(self) -> None:  # noqa: B027 - most targets have nothing to check
        """Called before any work of a build.

        Raises:
            UsageError: an option names something that there is not.
            Sam3PortError: this machine cannot compile for the target; it says what is missing.
        """

    def announcements(self) -> list[str]:
        """What whoever builds for it should know beforehand, for people: a line each."""
        return []

    def about(self) -> dict[str, Any]:
        """What the manifest shall say about the target besides TVM's description: names and JSON."""
        return {}

    def missing_to_build(self) -> list[str]:
        """What this machine lacks to compile for the target, for people; empty when it has everything."""
        return []

    def missing_to_run(self) -> list[str]:
        """What this machine lacks to run what was compiled for the target, for people."""
        import tvm

        return [] if tvm.device(self.device, 0).exist else [f"a {self.device} device"]

    def export(self, executable: Any, file: Path) -> None:
        """Writes what ``tvm.compile`` returned to ``file``.

        A shared library, or for another machine's linker a ``.tar`` of object code.

        Raises:
            KernelError: a kernel cannot run on the device.
            RuntimeError: the linker fails.
        """
        executable.export_library(str(file))
