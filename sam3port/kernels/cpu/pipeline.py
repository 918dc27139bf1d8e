"""From an imported Relax module to one that is ready for ``tvm.compile``, for a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import tvm
from tvm import relax
from tvm.target import Target

from sam3port.kernels.common.legalise import LEGALISATIONS
from sam3port.kernels.common.unread import leave_out_unread
from sam3port.kernels.cpu.default_schedule import default_schedule
from sam3port.kernels.cpu.dispatch import dispatch, find
from sam3port.kernels.cpu.formats.cpu import cpu_of
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.workloads.tuned import TUNED, UNTUNED, TunedSchedules
from sam3port.kernels.cpu.workloads.workload import Workload


def optimise(
    mod: tvm.IRModule,
    target: Target,
    *,
    lift_parameters: bool = True,
    tuned: TunedSchedules = UNTUNED,
    dtype: str = FLOAT32.precision,
) -> tvm.IRModule:
    """Kernels where there are some, everything else fused and scheduled.

    Args:
        mod: Relax functions in dataflow form, as ``from_exported_program`` makes them.
        target: an LLVM target; its features decide the sizes of everything.
        lift_parameters: for functions with the attribute ``num_input`` (parameters kept as inputs), move all work
            on parameters, the packing of weights above all, into ``<name>_transform_params``, which is to be run
            once; ``<name>`` then takes what it returns in place of the parameters.
        tuned: schedules that were measured; all other kernels' are computed from their shapes.
        dtype: what products are computed in, ``float32`` or ``bfloat16``; everything else, and what goes in and out,
            is float32.

    Raises:
        UsageError: the target is no CPU that LLVM compiles for.
    """
    passes = [*tidied(), dispatch(target, tuned, dtype)]
    if lift_parameters and _keeps_parameters(mod):
        passes.append(relax.transform.LiftTransformParams())
    passes += [
        relax.transform.LegalizeOps(LEGALISATIONS),
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
        # Before the schedule: a scheduled reshape is not recognised as one and would be copied.
        relax.transform.RewriteDataflowReshape(),
        default_schedule(target),
    ]
    with target:
        return tvm.transform.Sequential(passes, name="sam3port.cpu.optimise")(mod)


def tunable(mod: tvm.IRModule, target: Target, dtype: str = FLOAT32.precision) -> list[tuple[Workload, int]]:
    """The work of every call of a kernel in `mod` as `optimise` leaves it, where there is a choice of schedules.

    Args:
        mod: as for `optimise`.
        target: an LLVM target.
        dtype: what products are computed in.

    Returns:
        Each with its FLOPs.
    """
    cpu = cpu_of(target)
    tidy = tvm.transform.Sequential(tidied())(mod)
    places = [place for function in _relax_functions(tidy) for place in find(function, Options(cpu, dtype))]
    work = {place.workload.key: place.workload for place in places if place.workload is not None}
    # Some of them are for naught: an attention takes the place of products. So all get the usual schedule as if it had
    # been measured, and those that are left say what they are.
    usual = TunedSchedules({key: asdict(each.default(cpu)) for key, each in work.items()})
    done = dispatch(target, usual, dtype)(tidy)
    left = []
    for function in _relax_functions(done):
        for call in _calls(function):
            attributes = done[call.args[0]].attrs
            if TUNED in attributes:
                left.append((work[str(attributes[TUNED])], int(attributes["sam3port.flops"])))
    return left


def _relax_functions(mod: tvm.IRModule) -> list[relax.Function]:
    return [function for _, function in mod.functions_items() if isinstance(function, relax.Function)]


def _calls(function: relax.Function) -> Iterator[Any]:
    for block in function.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.call_tir":
                yield value


def tidied() -> list[tvm.transform.Pass]:
    """What makes equal work look equal."""
    return [
        relax.transform.CanonicalizeBindings(),
        leave_out_unread(),
        relax.transform.EliminateCommonSubexpr(),
        relax.transform.DeadCodeElimination(),
    ]


def _keeps_parameters(mod: tvm.IRModule) -> bool:
    return any(function.attrs is not None and "num_input" in function.attrs for function in _relax_functions(mod))
