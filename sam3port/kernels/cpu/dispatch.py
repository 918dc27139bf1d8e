"""Puts the kernels in place of what they compute, found by operator and shape and never by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tvm
from tvm import relax
from tvm.target import Target

from sam3port.kernels.common.graph import Emit, Graph, Var
from sam3port.kernels.common.rewriting import rewritten
from sam3port.kernels.cpu.formats.cpu import cpu_of
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.patterns.attention import match_attention
from sam3port.kernels.cpu.patterns.channel_norm import match_channel_norm
from sam3port.kernels.cpu.patterns.convolution import match_convolution, match_transposed_convolution
from sam3port.kernels.cpu.patterns.depthwise import match_depthwise
from sam3port.kernels.cpu.patterns.linear import match_linear
from sam3port.kernels.cpu.patterns.narrow_mlp import match_narrow_mlp
from sam3port.kernels.cpu.patterns.normalisation import match_normalisation
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.patterns.product import match_product
from sam3port.kernels.cpu.patterns.replacement import Replacement
from sam3port.kernels.cpu.patterns.roi_align import match_roi_align
from sam3port.kernels.cpu.workloads.tuned import UNTUNED, TunedSchedules

Matcher = Callable[[Graph, Var, Options], Replacement | None]

MATCHERS: tuple[Matcher, ...] = (
    match_attention,
    match_narrow_mlp,
    match_linear,
    match_product,
    match_convolution,
    match_depthwise,
    match_transposed_convolution,
    match_normalisation,
    match_channel_norm,
    match_roi_align,
)
"""In order of preference: the last product of an attention is a matmul, too."""


def find(function: relax.Function, options: Options) -> list[Replacement]:
    """Every place in `function` for a kernel, which has the schedule that was measured for it, if one was."""
    graph = Graph(function)
    anywhere = replace(options, cpu=options.cpu.anywhere)
    found: dict[Any, Replacement] = {}
    for var, _ in reversed(graph.bindings):  # an attention's last product comes before its first
        if graph.is_alias(var):
            continue
        # What is done to weights alone is done where the build runs, which may be another kind of machine.
        fitting = anywhere if graph.reads_no_input(var) else options
        for match in MATCHERS:
            replacement = match(graph, var, fitting)
            if replacement is not None:
                found.setdefault(replacement.var, replacement)
                graph.replaced.add(replacement.var)
                graph.bypassed |= replacement.bypassed
                break
    return list(found.values())


def dispatch(target: Target, tuned: TunedSchedules = UNTUNED, dtype: str = FLOAT32.precision) -> tvm.transform.Pass:
    """A module pass: known operators become calls of kernels made for `target`; the rest stays as it is.

    Args:
        target: of kind llvm.
        tuned: schedules that were measured; all other kernels' are computed from their shapes.
        dtype: what products are computed in; everything else is float32.
    """
    options = Options(cpu_of(target), dtype, tuned)

    def transform(mod: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        def kernels(function: relax.Function) -> dict[Var, Emit]:
            return {place.var: place.emit for place in find(function, options)}

        return relax.transform.DeadCodeElimination()(rewritten(mod, kernels))

    return tvm.transform.module_pass(transform, opt_level=0, name="sam3port.cpu.dispatch")
