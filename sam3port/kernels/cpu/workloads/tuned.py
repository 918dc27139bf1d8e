"""Schedules that were measured, for kernels that are about to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, ProductSchedule, Schedule
from sam3port.kernels.cpu.workloads.workload import Workload, described

TUNED: Final = "sam3port.tuned"
"""Attribute of the functions that were made with a measured schedule: the workload's key."""


class TunedSchedules:
    """By the key of a workload."""

    def __init__(self, sizes: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """
        Args:
            sizes: of a schedule, by the names of its fields, for each workload.
        """
        self._sizes = sizes or {}

    def find(self, workload: Workload | None, cpu: Cpu) -> Schedule | None:
        """The schedule for a workload, None where none was measured or it does not fit `cpu`."""
        if workload is None:
            return None
        # What is best in float32 is a better guess for another type than what is computed from the shape alone.
        sizes = self._sizes.get(workload.key) or self._sizes.get(workload.key_in_float32)
        if sizes is None:
            return None
        schedule = schedule_of(sizes)
        return None if schedule is None or workload.problem(schedule, cpu) else schedule

    def product(self, workload: Workload | None, cpu: Cpu) -> ProductSchedule | None:
        found = self.find(workload, cpu)
        return found if isinstance(found, ProductSchedule) else None

    def attention(self, workload: Workload | None, cpu: Cpu) -> AttentionSchedule | None:
        found = self.find(workload, cpu)
        return found if isinstance(found, AttentionSchedule) else None


UNTUNED: Final = TunedSchedules()


def schedule_of(sizes: Mapping[str, int]) -> Schedule | None:
    """The schedule with these fields, None if there is no such kind."""
    for kind in (ProductSchedule, AttentionSchedule):
        if {field.name for field in fields(kind)} == set(sizes) and all(type(n) is int for n in sizes.values()):
            return kind(**sizes)
    return None


def marked(function: tirx.PrimFunc, schedule: Schedule | None, workload: Workload | None) -> tirx.PrimFunc:
    """`function`, which says from now on that its schedule was measured, and for what, if one was."""
    if schedule is None or workload is None:
        return function
    return function.with_attr({TUNED: workload.key, "sam3port.schedule": f"tuned: {described(schedule)}"})
