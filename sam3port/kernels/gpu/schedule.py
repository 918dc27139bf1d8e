"""A schedule for every kernel of a GPU: the first of `dlight`'s rules that fits, or one thread for each element."""

from __future__ import annotations

import dataclasses
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir import dlight
from tvm.s_tir.dlight.base import max_threads_per_block
from tvm.s_tir.dlight.gpu.base import GPUScheduleRule
from tvm.target import Target

from sam3port.kernels.gpu.launch import fits

_SPATIAL = 0  # tirx.IterVar.iter_type


class OneThreadPerElement(GPUScheduleRule):  # type: ignore[misc]
    """One thread for each element of the result, however it is computed.

    Fits where dlight's Fallback gives up: on blocks in blocks, as `roi_align` has them, whose inner loops are as
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


class _PlainMatmul(dlight.gpu.Matmul):  # type: ignore[misc]
    """dlight's products in tiles of shared memory, without the simdgroup matrices of Metal: there it would first try
    a rule that ends the process (TVM 0.27, ``MetalMatmul``, inside Tensorize).
    """

    def get_configs(self, target: Target) -> dlight.gpu.Matmul.Config:
        """dlight's, but without vectors: TVM 0.27 writes CUDA C that no compiler takes for a vector of conditions, as
        they come about where a ``where`` is fused into a product (``float2 = make_ushort2(...)``).
        """
        return dataclasses.replace(super().get_configs(target), vector_size=1)

    def apply(self, function: tirx.PrimFunc, target: Target, tunable: bool) -> Any:
        return super().apply(function, _without_matrices(target), tunable)


def _without_matrices(target: Target) -> Target:
    """`target` under the name of a kind for which dlight has no special rule."""
    if target.kind.name != "metal":
        return target
    return Target({"kind": "webgpu", "max_num_threads": int(target.attrs["max_num_threads"])})


def rules() -> list[Any]:
    """In order of preference. The last one fits everything that is made of blocks."""
    return [
        _PlainMatmul(),
        dlight.gpu.GEMV(),
        dlight.gpu.Reduction(),
        dlight.gpu.GeneralReduction(),
        dlight.gpu.Fallback(),
        OneThreadPerElement(),
    ]


def schedule(target: Target) -> tvm.transform.Pass:
    """A module pass over all functions without the attribute ``tirx.is_scheduled``."""

    def transform(mod: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        scheduled = {}
        for name, function in mod.functions_items():
            if isinstance(function, tirx.PrimFunc) and not _is_scheduled(function):
                scheduled[name] = schedule_function(function, target)
        for name, function in scheduled.items():
            mod[name] = function
        return mod

    return tvm.transform.module_pass(transform, opt_level=0, name="sam3port.gpu.schedule")


def _is_scheduled(function: tirx.PrimFunc) -> bool:
    return function.attrs is not None and bool(function.attrs.get("tirx.is_scheduled", False))


def schedule_function(function: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`function` by the first rule that takes it, with no more threads in a block than there are.

    As it is when none does: `check_launches` then says so.
    """
    for rule in rules():
        try:
            made = rule.apply(function, target, False)
        # Rules say that they do not fit by None, but also by errors of any kind, from an AttributeError to TVM's own.
        except Exception:
            continue
        if made is None:
            continue
        schedule: s_tir.Schedule = made[0] if isinstance(made, list) else made
        if fits(schedule.mod["main"], target):
            return schedule.mod["main"].with_attr("tirx.is_scheduled", True)
    return function
