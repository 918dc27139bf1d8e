"""A line of a database: what one schedule did for one workload on one kind of machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tvm.target import Target

FORMAT: Final = 1
_GENERIC: Final = ("x86-64", "generic")
"""Beginnings of the names of CPUs that stand for many."""


class Kind(StrEnum):
    """What a record is."""

    TRIAL = "trial"
    """One measurement, so that it need not be made again."""
    BEST = "best"
    """The outcome for a workload: what `sam3port build` uses. Its schedule is the default where nothing was better."""


@dataclass(frozen=True)
class Machine:
    """What a schedule depends on besides the workload."""

    mcpu: str
    """LLVM's name."""
    lanes: int
    registers: int
    cores: int

    @staticmethod
    def of(target: Target) -> Machine:
        """
        Raises:
            UsageError: the target is no CPU that LLVM compiles for.
        """
        from sam3port.kernels.cpu.formats.cpu import cpu_of

        cpu = cpu_of(target)
        return Machine(str(target.attrs.get("mcpu", "generic")), cpu.lanes, cpu.registers, cpu.cores)

    def serves(self, other: Machine) -> bool:
        """Whether what was measured here counts there: on the same CPU, or on a generic one with such vectors.

        Only the class of the number of cores counts: how work is shared out is computed for the number itself.
        """
        same_unit = (self.lanes, self.registers) == (other.lanes, other.registers)
        return same_unit and self.of_cpu(other.mcpu) and _core_class(self.cores) == _core_class(other.cores)

    def of_cpu(self, mcpu: str) -> bool:
        """Whether this is that CPU, or one that stands for many."""
        return self.mcpu == mcpu or self.mcpu.startswith(_GENERIC)


def _core_class(cores: int) -> int:
    return sum(cores > most for most in (4, 16))


@dataclass(frozen=True)
class Record:
    """One line."""

    kind: Kind
    workload: str
    machine: Machine
    schedule: Mapping[str, int]
    """The fields of a `sam3port.kernels.cpu.scheduling.schedules.Schedule`."""
    seconds: float | None = None
    """Median of a call; None: the kernel could not be built or run, see `problem`."""
    default_seconds: float | None = None
    """The same of the default schedule, in the same process and in turns."""
    ratio: float | None = None
    """Median of default / schedule over the rounds: above 1 is faster."""
    rounds: int = 0
    tuned: bool = False
    """Of `Kind.BEST`: whether the schedule is better than the default."""
    problem: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    """With what it was measured: versions, a digest of the kernels."""

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Record:
        """
        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        values = {key: value for key, value in content.items() if key != "format"}
        values["kind"], values["machine"] = Kind(values["kind"]), Machine(**values["machine"])
        if not isinstance(values["workload"], str) or not all(type(n) is int for n in values["schedule"].values()):
            raise ValueError("workload or schedule")
        return Record(**values)


@dataclass(frozen=True)
class TunedSchedule:
    """What a build needs of a record."""

    workload: str
    machine: Machine
    schedule: Mapping[str, int]
    source: str
    """Which database, for people."""
    better: bool = True
    """Than the default. Where the default was found to be best, no other database is asked."""

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> TunedSchedule:
        return TunedSchedule(**{**content, "machine": Machine(**content["machine"])})
