"""What a component is made of, without building it: its graph, operators, parameters and work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam3port.compiler.export import export_module
from sam3port.compiler.importing.decompose import decompose
from sam3port.compiler.importing.program import weights
from sam3port.inspect.operators import operators_of

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from sam3port.compiler.importing.converter import Converter
    from sam3port.components.component import Component
    from sam3port.model.preset import Preset


@dataclass(frozen=True)
class Description:
    """Measured on the exported program."""

    nodes: int
    """Operators in the graph that is imported."""
    operators: dict[str, int]
    """Calls of each operator."""
    flops: int
    """Of matrix products, attention and convolutions; a multiplication with an addition is two."""
    parameters: int
    """Numbers in the weights that the graph uses: parameters, buffers and constants."""
    parameter_bytes: int


def describe(component: Component, model: Any, preset: Preset, converters: Mapping[str, Converter]) -> Description:
    """Exports the component from ``model`` and counts."""
    program = export_module(component.module(model, preset), component.example(preset, 0))
    operators = operators_of(program, converters)
    used = used_weights(program).values()
    return Description(
        nodes=sum(operators.values()),
        operators=operators,
        flops=count_flops(program),
        parameters=sum(tensor.numel() for tensor in used),
        parameter_bytes=sum(tensor.numel() * tensor.element_size() for tensor in used),
    )


def used_weights(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """The parameters, buffers and constants that some operator reads."""
    read = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    names = {spec.target for spec in program.graph_signature.input_specs if spec.target and spec.arg.name in read}
    return {name: tensor for name, tensor in weights(program).items() if name in names}


def count_flops(program: ExportedProgram) -> int:
    """By torch's own formulas, from shapes alone."""
    import torch
    from torch.fx.node import map_arg
    from torch.utils.flop_counter import flop_registry

    total = 0
    # Attention is spelt out: torch has no formula for its CPU kernel.
    for node in decompose(program, {}).graph.nodes:
        formula = (
            flop_registry.get(node.target.overloadpacket) if isinstance(node.target, torch._ops.OpOverload) else None
        )
        if formula is not None:
            arguments = map_arg((node.args, node.kwargs), lambda read: read.meta["val"])
            total += int(formula(*arguments[0], **arguments[1], out_val=node.meta["val"]))
    return total
