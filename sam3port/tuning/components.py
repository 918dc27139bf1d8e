"""The work that the components' kernels have to do: what there is to tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sam3port.kernels.cpu.workloads.workload import Workload


@dataclass
class Work:
    """A workload and where it occurs."""

    workload: Workload
    flops: int
    """Of one call."""
    calls: dict[str, int] = field(default_factory=dict)
    """In one run of each component."""

    @property
    def total(self) -> int:
        """Operations in one run of everything."""
        return self.flops * sum(self.calls.values())


def find_work(programs: Mapping[str, Any], target: Any, dtype: str) -> list[Work]:
    """What can be tuned in components, the most first.

    Args:
        programs: by component, its Relax module as stage import leaves it.
        target: the ``tvm.target.Target`` that it is for.
        dtype: what products are computed in.
    """
    from sam3port.kernels.cpu.pipeline import tunable

    found: dict[str, Work] = {}
    for name, program in programs.items():
        for workload, flops in tunable(program, target, dtype):
            work = found.setdefault(workload.key, Work(workload, flops))
            work.calls[name] = work.calls.get(name, 0) + 1
    return sorted(found.values(), key=lambda work: (-work.total, work.workload.key))
