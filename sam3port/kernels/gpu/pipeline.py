"""From an imported Relax module to one that is ready for ``tvm.compile``, for a GPU."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.target import Target

from sam3port.kernels.common.legalise import LEGALISATIONS as LEGALISATIONS_OF_CONSTANTS
from sam3port.kernels.gpu.launch import check_launches
from sam3port.kernels.gpu.legalise import LEGALISATIONS
from sam3port.kernels.gpu.schedule import schedule
from sam3port.kernels.gpu.sides import merge, split


def optimise(mod: tvm.IRModule, target: Target, host: Target, schedule_on_host: tvm.transform.Pass) -> tvm.IRModule:
    """Everything fused and scheduled: what runs on the GPU for it, what prepares weights for the machine that builds.

    Attention is computed as it is written, with all scores in memory: 16 x 5184 x 5184 float32, 1.7 GB, in a global
    layer of the preset ``full``. The memory plan reuses it, so it is needed once.

    Args:
        mod: Relax functions in dataflow form, as ``from_exported_program`` makes them.
        target: kind cuda or metal.
        host: an LLVM target that runs here.
        schedule_on_host: a module pass that schedules what `host` computes.

    Returns:
        Its functions with the attribute ``num_input`` have got a ``<name>_transform_params`` beside them, for `host`,
        which is to be run once; ``<name>`` then takes what it returns in place of the parameters.

    Raises:
        KernelError: a kernel has no threads, or more than `target` allows.
    """
    lift = tvm.transform.Sequential(
        [
            relax.transform.CanonicalizeBindings(),
            relax.transform.EliminateCommonSubexpr(),
            relax.transform.DeadCodeElimination(),
            relax.transform.LiftTransformParams(),
        ],
        name="sam3port.gpu.lift",
    )
    on_device, on_host = split(lift(mod))
    with target:
        on_device = tvm.transform.Sequential(
            [
                relax.backend.DispatchSortScan(),
                relax.transform.LegalizeOps(LEGALISATIONS),
                *_kernels(),
                schedule(target),
            ],
            name="sam3port.gpu.optimise",
        )(on_device)
    check_launches(on_device, target)
    with host:
        passes = [*_kernels(), schedule_on_host]
        on_host = tvm.transform.Sequential(passes, name="sam3port.gpu.prepare")(on_host)
    return merge(on_device, on_host)


def _kernels() -> list[tvm.transform.Pass]:
    """Operators become functions of loops, fused where one only feeds another."""
    return [
        relax.transform.LegalizeOps(LEGALISATIONS_OF_CONSTANTS),
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        # Before the schedule: a scheduled reshape is not recognised as one and would be copied.
        relax.transform.RewriteDataflowReshape(),
        relax.transform.DeadCodeElimination(),
    ]
