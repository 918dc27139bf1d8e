"""What a component is made of, without building it: its graph, operators, parameters and work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam3port.port.decompose import decompose
from sam3port.port.export import export_module
from sam3port.port.operators import operators_of
from sam3port.port.relax import weights

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from sam3port.components.component import Component
    from sam3port.model.preset import Preset
    from sam3port.port.converter import Converter


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
    used = [tensor for name, tensor in weights(program).items() if name in _used(program)]
    return Description(
        nodes=sum(operators.values()),
        operators=operators,
        flops=count_flops(program),
        parameters=sum(tensor.numel() for tensor in used),
        parameter_bytes=sum(tensor.numel() * tensor.element_size() for tensor in used),
    )


def _used(program: ExportedProgram) -> set[str]:
    """The names of the weights that some node reads."""
    read = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    return {spec.target for spec in program.graph_signature.input_specs if spec.target and spec.arg.name in read}


def count_flops(program: ExportedProgram) -> int:
    """By torch's own counter, on shapes alone."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    values: dict[Any, Any] = {}
    with mode, FlopCounterMode(display=False) as counter:
        for node in decompose(program, {}).graph.nodes:  # attention spelt out: torch cannot count its CPU kernel
            if node.op == "placeholder":
                fake = node.meta["val"]
                values[node] = torch.empty(fake.shape, dtype=fake.dtype)
            elif node.op == "call_function":
                values[node] = _call(node, values)
    return int(counter.get_total_flops())


def _call(node: Any, values: Mapping[Any, Any]) -> Any:
    from torch.fx.node import map_arg

    return node.target(*map_arg(node.args, values.__getitem__), **map_arg(node.kwargs, values.__getitem__))
