"""What a pattern answers with."""

from __future__ import annotations

from dataclasses import dataclass

from sam3port.kernels.common.graph import Emit, Var
from sam3port.kernels.cpu.workloads.workload import Workload


@dataclass(frozen=True, slots=True)
class Replacement:
    """The value of one variable, computed by a kernel. What only fed the old value dies of disuse."""

    var: Var
    """The variable whose value the kernel computes."""
    emit: Emit
    """What makes the kernel and the call of it."""
    kernel: str
    """Name of the kernel, for reports."""
    flops: int | None = None
    """Multiplications and additions, where shapes are known."""
    workload: Workload | None = None
    """What a schedule can be measured for, where shapes are known and there is a choice."""
    bypassed: frozenset[Var] = frozenset()
    """Transposes that the kernel reads in front of, see `Graph.bypassed`."""
