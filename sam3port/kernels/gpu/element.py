"""One thread for each element of the result: a schedule that does not ask how the element is computed."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx
from tvm.s_tir.dlight.base import max_threads_per_block
from tvm.s_tir.dlight.gpu.base import GPUScheduleRule
from tvm.target import Target

_SPATIAL = 0  # tirx.IterVar.iter_type


class OneThreadPerElement(GPUScheduleRule):  # type: ignore[misc]
    """Fits where dlight's Fallback gives up: on blocks in blocks, as `roi_align` has them, whose inner loops are as
    long as the data says.
    """

    def apply(self, function: tirx.PrimFunc, target: Target, _tunable: bool) -> s_tir.Schedule | None:
        """None when a block at the top has an axis that is not an element's."""
        schedule = s_tir.Schedule(function)
        blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
        for block in blocks:
            if any(axis.iter_type != _SPATIAL for axis in schedule.get(block).iter_vars):
                return None
            self._bind(schedule, block, max_threads_per_block(target))
        return schedule

    def _bind(self, schedule: s_tir.Schedule, block: Any, threads: int) -> None:
        loops = schedule.get_loops(block) or [schedule.add_unit_loop(block)]
        outer, inner = schedule.split(schedule.fuse(*loops), [None, threads])
        schedule.bind(outer, "blockIdx.x")
        schedule.bind(inner, "threadIdx.x")
