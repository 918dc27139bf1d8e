"""What a build has chosen for its kernels: the means that a pattern makes one with."""

from __future__ import annotations

from dataclasses import dataclass

from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.policy import Site, arithmetic_for
from sam3port.kernels.cpu.workloads.tuned import UNTUNED, TunedSchedules


@dataclass(frozen=True, slots=True)
class Options:
    """For all kernels of a module."""

    cpu: Cpu
    """What the kernels are made for."""
    precision: str = FLOAT32.precision
    """What products are asked to be computed in, ``float32`` or ``bfloat16``; see `formats.policy`."""
    tuned: TunedSchedules = UNTUNED
    """Schedules that were measured; all other kernels' are computed from their shapes."""

    def arithmetic(self, site: Site) -> Arithmetic:
        """What a product is computed with."""
        return arithmetic_for(site, self.cpu, self.precision)
