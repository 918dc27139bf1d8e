"""A parallel and vectorised schedule for every function that no kernel stands for.

Plain ``tvm.compile`` leaves TIR as naive serial loops, and ``dlight.cpu`` of TVM 0.27 has two rules: one for
matrix-vector products, one for reductions followed by elementwise work, which gives up on everything else (and takes
its vector width from ``llvm_get_vector_width``, which is 512 for every x86-64). This is one rule for the rest:
elementwise producers are inlined where nothing is computed twice, outer loops run in parallel, the innermost loop is
cut to vectors. What the schedule primitives refuse stays as it was.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.s_tir.schedule import ScheduleError
from tvm.sym import Analyzer
from tvm.target import Target

from sam3port.kernels.cpu.codegen.vector_math import expand_math, is_expensive
from sam3port.kernels.cpu.formats.cpu import Cpu, cpu_of

_PARALLEL_FROM = 1 << 14
"""Elements below which waking other threads takes longer than the work."""
_CHUNK = 1 << 12
_TRANSPOSE_TILE = 16
_A_LITTLE_MORE = 1.1
"""A consumer that has a row more (padding, a concatenation) does not compute its elements again."""

_REFUSED = (ScheduleError, tvm.error.InternalError, ValueError, TypeError)
_SPATIAL, _REDUCTION = 0, 2  # tirx.IterVar.iter_type


def default_schedule(target: Target) -> tvm.transform.Pass:
    """A module pass over all functions without the attribute ``tirx.is_scheduled``."""
    cpu = cpu_of(target)

    def transform(mod: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        scheduled = {}
        for name, function in mod.functions_items():
            if isinstance(function, tirx.PrimFunc) and not _is_scheduled(function):
                scheduled[name] = schedule_function(function, cpu)
        for name, function in scheduled.items():
            mod[name] = function
        return mod

    return tvm.transform.module_pass(transform, opt_level=0, name="sam3port.cpu.default_schedule")


def _is_scheduled(function: tirx.PrimFunc) -> bool:
    return function.attrs is not None and bool(function.attrs.get("tirx.is_scheduled", False))


def schedule_function(function: tirx.PrimFunc, cpu: Cpu) -> tirx.PrimFunc:
    """`function` with a schedule; as it is when its body is not made of blocks (sorting, scatter)."""
    function = expand_math(function)
    try:
        schedule = s_tir.Schedule(function)
        blocks = _blocks(schedule)
    except _REFUSED:
        return function
    _inline(schedule, blocks, list(function.params))
    for block in _blocks(schedule):
        _Block(schedule, block, cpu).apply()
    return schedule.mod["main"].with_attr("tirx.is_scheduled", True)


def _blocks(schedule: s_tir.Schedule) -> list[Any]:
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def _inline(schedule: s_tir.Schedule, blocks: list[Any], parameters: list[Any]) -> None:
    """Removes intermediate buffers that are read once for each element, or that cost nothing to compute."""
    for block in blocks:
        statement = schedule.get(block)
        if len(statement.writes) != 1 or any(axis.iter_type != _SPATIAL for axis in statement.iter_vars):
            continue
        if any(statement.writes[0].source.same_as(parameter) for parameter in parameters):
            continue
        consumers = schedule.get_consumers(block)
        again = len(consumers) != 1 or _extent(schedule.get(consumers[0])) > _A_LITTLE_MORE * _extent(statement)
        if again and (is_expensive(statement.body) or len(statement.reads) > 1):
            continue
        with contextlib.suppress(*_REFUSED):
            schedule.compute_inline(block)


def _extent(statement: Any) -> float:
    """Iterations of a block; unknown ones count as many."""
    return math.prod(_static(axis.dom.extent) or 4096 for axis in statement.iter_vars)


def _static(extent: Any) -> int | None:
    if isinstance(extent, int):
        return extent
    return int(extent.value) if isinstance(extent, tirx.IntImm) else None


class _Block:
    """Schedules one block that has a loop nest of its own."""

    def __init__(self, schedule: s_tir.Schedule, block: Any, cpu: Cpu) -> None:
        self.schedule = schedule
        self.block = block
        self.cpu = cpu
        self.statement = schedule.get(block)

    def apply(self) -> None:
        loops = self.schedule.get_loops(self.block)
        axes = list(self.statement.iter_vars)
        if not loops or len(loops) != len(axes):
            return
        if any(axis.iter_type not in (_SPATIAL, _REDUCTION) for axis in axes):
            return
        self.spatial = [loop for loop, axis in zip(loops, axes, strict=True) if axis.iter_type == _SPATIAL]
        self.spatial_axes = [axis for axis in axes if axis.iter_type == _SPATIAL]
        self.reductions = [loop for loop, axis in zip(loops, axes, strict=True) if axis.iter_type == _REDUCTION]
        # The primitives change the schedule before they refuse something, so each attempt works on its own steps
        # and the plainest comes last.
        if not self.spatial:
            return
        if self.reductions:
            self._reduction()
        elif not self._transposition():
            self._elementwise()

    def _lanes_of(self, loop: Any) -> int:
        """Lanes to cut a loop into vectors of: all, or fewer when that is what divides it; 1: no vectors."""
        extent = _static(self.schedule.get(loop).extent)
        lanes = self.cpu.lanes
        while lanes > 1 and (extent is None or extent % lanes):
            lanes //= 2
        return lanes if lanes >= min(4, self.cpu.lanes) else 1

    def _elementwise(self) -> None:
        schedule = self.schedule
        *outer, inner = self.spatial
        if self._is_flat() and outer:
            inner = schedule.fuse(*self.spatial)
            outer = []
        elif (period := self._period()) is not None:
            around, inner = schedule.split(inner, [None, period])
            outer = [*outer, around]
        lanes = self._lanes_of(inner)
        if lanes > 1:
            inner, vector = schedule.split(inner, [None, lanes])
            schedule.vectorize(vector)
        if not outer:
            chunk = max(1, _CHUNK // lanes)
            extent = _static(schedule.get(inner).extent)
            if extent is not None and extent <= chunk:
                return
            outer = [schedule.split(inner, [None, chunk])[0]]
        self._parallel(outer)

    def _is_flat(self) -> bool:
        """Whether every access has the loops' own order, so that they are one long loop."""
        axes = [axis.var for axis in self.statement.iter_vars]
        for access in (*self.statement.reads, *self.statement.writes):
            indices = [dimension.min for dimension in access.region]
            if len(indices) != len(axes):
                return False
            if not all(index.same_as(axis) for index, axis in zip(indices, axes, strict=True)):
                return False
        # A flat loop must also be a flat buffer: same extents.
        for access in (*self.statement.reads, *self.statement.writes):
            dims = access.source.ty.shape
            for dim, axis in zip(dims, self.statement.iter_vars, strict=True):
                if _static(dim) is None or _static(dim) != _static(axis.dom.extent):
                    return False
        return True

    def _period(self) -> int | None:
        """Where the last axis was two before a reshape, the length of the second.

        Cut there, a vector's indices are its first one's and what follows; otherwise each lane divides for itself.
        """
        axis = self.statement.iter_vars[-1]
        extent, analyzer, found = _static(axis.dom.extent), Analyzer(), set[int | None]()
        for each in self.statement.iter_vars:
            analyzer.bind(each.var, each.dom)

        def visit(node: Any) -> None:
            if node.a.same_as(axis.var):
                found.add(_static(node.b))

        for access in self.statement.reads:
            for dimension in access.region:
                index = analyzer.simplify(dimension.min)
                for kind in (tirx.FloorDiv, tirx.FloorMod):
                    tvm_ffi.structural_walk(index, (kind, visit))
        (period,) = found if len(found) == 1 else (None,)
        return period if period and extent and period < extent and extent % period == 0 else None

    def _transposition(self) -> bool:
        """Tiles a block that reads along one axis and writes along another."""
        if len(self.statement.reads) != 1 or len(self.spatial) < 2:
            return False
        region = self.statement.reads[0].region
        if not region:
            return False
        # An inlined reshape leaves an index that is the axis only after simplification.
        analyzer = Analyzer()
        for axis in self.statement.iter_vars:
            analyzer.bind(axis.var, axis.dom)
        along = analyzer.simplify(region[-1].min)
        source = next((i for i, axis in enumerate(self.spatial_axes) if axis.var.same_as(along)), None)
        if source is None or source == len(self.spatial) - 1:
            return False
        schedule = self.schedule
        tiles = []
        for loop in (self.spatial[source], self.spatial[-1]):
            extent = _static(schedule.get(loop).extent)
            tile = next((t for t in (_TRANSPOSE_TILE, 8, 4) if extent is not None and extent % t == 0), None)
            if tile is None:
                return False
            tiles.append(tile)
        source_outer, source_inner = schedule.split(self.spatial[source], [None, tiles[0]])
        last_outer, last_inner = schedule.split(self.spatial[-1], [None, tiles[1]])
        others = [loop for i, loop in enumerate(self.spatial) if i not in (source, len(self.spatial) - 1)]
        schedule.reorder(*others, source_outer, last_outer, source_inner, last_inner)
        self._parallel([*others, source_outer, last_outer])
        return True

    def _reduction(self) -> None:
        if self._sums_side_by_side():
            self._across()
        elif not self._partial_sums():
            self._parallel(self.spatial)

    def _sums_side_by_side(self) -> bool:
        """Whether neighbours in memory belong to neighbouring results."""
        last = self.spatial_axes[-1].var
        reads = [access.region[-1].min for access in self.statement.reads if len(access.region)]
        return self._lanes_of(self.spatial[-1]) > 1 and any(index.same_as(last) for index in reads)

    def _across(self) -> None:
        schedule = self.schedule
        lanes = self._lanes_of(self.spatial[-1])
        inner, vector = schedule.split(self.spatial[-1], [None, lanes])
        outer = [*self.spatial[:-1], inner]
        schedule.reorder(*outer, *self.reductions, vector)
        schedule.vectorize(vector)
        fused = self._parallel(outer)
        with contextlib.suppress(*_REFUSED):
            schedule.decompose_reduction(self.block, schedule.get_loops(self.block)[1 if fused else len(outer)])

    def _partial_sums(self) -> bool:
        """One sum for each lane, added up at the end: faster than one chain, and closer to the exact sum."""
        schedule = self.schedule
        if len(self.statement.writes) != 1 or self.cpu.lanes == 1:
            return False
        try:
            reduction = schedule.fuse(*self.reductions) if len(self.reductions) > 1 else self.reductions[0]
            lanes = self._lanes_of(reduction)
            extent = _static(schedule.get(reduction).extent)
            if lanes == 1 or extent is None or extent < 4 * lanes:
                return False
            _, lane = schedule.split(reduction, [None, lanes])
            partial = schedule.rfactor(lane, factor_axis=len(self.spatial))
        except _REFUSED:
            return False
        loops = schedule.get_loops(partial)
        count = len(self.spatial)
        (*outer,) = loops[:count]
        # rfactor keeps the order: spatial, steps, lane.
        schedule.vectorize(loops[-1])
        fused = self._parallel(outer, block=partial)
        with contextlib.suppress(*_REFUSED):
            schedule.decompose_reduction(partial, schedule.get_loops(partial)[1 if fused else count])
        self._parallel(schedule.get_loops(self.block)[:count])
        return True

    def _parallel(self, loops: list[Any], block: Any = None) -> bool:
        """Fuses `loops` into one and runs it in parallel, unless the whole is small."""
        schedule = self.schedule
        statement = schedule.get(block if block is not None else self.block)
        if _extent(statement) < _PARALLEL_FROM:
            return False
        try:
            fused = schedule.fuse(*loops) if len(loops) > 1 else loops[0]
            schedule.parallel(fused)
        except _REFUSED:
            return False
        return True
