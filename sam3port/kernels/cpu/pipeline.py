"""From an imported Relax module to one that is ready for ``tvm.compile``, for a CPU."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.target import Target

from sam3port.kernels.cpu.default_schedule import default_schedule
from sam3port.kernels.cpu.dispatch import dispatch, find
from sam3port.kernels.cpu.legalise import LEGALISATIONS
from sam3port.kernels.cpu.patterns.graph import Replacement
from sam3port.kernels.cpu.tuned import UNTUNED, TunedSchedules
from sam3port.kernels.cpu.vector_unit import vector_unit


def optimise(
    mod: tvm.IRModule, target: Target, *, lift_parameters: bool = True, tuned: TunedSchedules = UNTUNED
) -> tvm.IRModule:
    """Kernels where there are some, everything else fused and scheduled.

    Args:
        mod: Relax functions in dataflow form, as ``from_exported_program`` makes them.
        target: an LLVM target; its features decide the sizes of everything.
        lift_parameters: for functions with the attribute ``num_input`` (parameters kept as inputs), move all work
            on parameters, the packing of weights above all, into ``<name>_transform_params``, which is to be run
            once; ``<name>`` then takes what it returns in place of the parameters.
        tuned: schedules that were measured; all other kernels' are computed from their shapes.

    Raises:
        UsageError: the target is no CPU that LLVM compiles for.
    """
    passes = [*_tidied(), dispatch(target, tuned)]
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


def places(mod: tvm.IRModule, target: Target) -> list[Replacement]:
    """Every place in `mod` where `optimise` puts a kernel."""
    tidy = tvm.transform.Sequential(_tidied())(mod)
    functions = [function for _, function in tidy.functions_items() if isinstance(function, relax.Function)]
    return [place for function in functions for place in find(function, vector_unit(target))]


def _tidied() -> list[tvm.transform.Pass]:
    """What makes equal work look equal."""
    return [
        relax.transform.CanonicalizeBindings(),
        relax.transform.EliminateCommonSubexpr(),
        relax.transform.DeadCodeElimination(),
    ]


def _keeps_parameters(mod: tvm.IRModule) -> bool:
    return any(
        isinstance(function, relax.Function) and function.attrs is not None and "num_input" in function.attrs
        for _, function in mod.functions_items()
    )
