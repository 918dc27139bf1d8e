"""Checks that a component is what it declares to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sam3port.artifact.interface import Arrays, TensorSpec
from sam3port.components.component import Component
from sam3port.errors import Sam3PortError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from sam3port.model.preset import Preset


def check_example(component: Component, preset: Preset, example: Arrays) -> None:
    """Raises Sam3PortError unless the example inputs have the declared names, order, shapes and dtypes."""
    specs = component.inputs(preset)
    found = {name: (tuple(array.shape), array.dtype.name) for name, array in example.items()}
    _compare(f"the example inputs of {component.name}", specs, found, in_order=True)


def check_program(component: Component, preset: Preset, program: ExportedProgram) -> None:
    """Raises Sam3PortError unless the traced module returns what the component declares."""
    returned = [node.meta["val"] for node in program.graph.output_node().args[0]]
    specs = component.outputs(preset)
    if len(returned) != len(specs):
        raise Sam3PortError(
            f"the module of {component.name} returns {len(returned)} tensors, {len(specs)} are declared",
            f"make `outputs` of the component agree with its module: it declares {', '.join(s.name for s in specs)}",
        )
    found = {
        spec.name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for spec, tensor in zip(specs, returned, strict=True)
    }
    _compare(f"the outputs of {component.name}", specs, found, in_order=False)


def _compare(
    what: str, specs: tuple[TensorSpec, ...], found: Mapping[str, tuple[tuple[int, ...], str]], *, in_order: bool
) -> None:
    names = [spec.name for spec in specs]
    if in_order and list(found) != names:
        raise Sam3PortError(f"{what} are {', '.join(found)}", f"they are declared as {', '.join(names)}, in this order")
    for spec in specs:
        shape, dtype = found[spec.name]
        if (shape, dtype) != (spec.shape, spec.dtype):
            raise Sam3PortError(
                f"{what}: {spec.name} is {dtype}{list(shape)}, declared as {spec.dtype}{list(spec.shape)}",
                "make the declaration and the module agree",
            )
