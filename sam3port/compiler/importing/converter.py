"""What a converter is: how one ATen operator becomes Relax, where TVM's own way is missing or wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam3port.compiler.errors import UnsupportedOperator

if TYPE_CHECKING:
    from torch import fx


@dataclass(frozen=True, slots=True)
class Converter:
    """Replaces TVM's conversion of one operator."""

    operator: str
    """Name and overload as in the exported graph, ``grid_sampler_2d.default``."""
    reason: str
    """What is wrong or missing in TVM, and since which version it is known."""
    retire_when: str
    convert: Callable[[fx.Node, Any], Any]
    """``(node, importer) -> relax.Var``; `arguments` reads the node, ``importer.block_builder`` emits."""
    keep_whole: bool = False
    """torch would decompose the operator before import: keep it as it is."""


def arguments(node: fx.Node, importer: Any) -> dict[str, Any]:
    """The node's arguments by the names of the operator's schema, defaults filled in, tensors as Relax variables."""
    values: dict[str, Any] = {}
    for index, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if index < len(node.args):
            value = importer._retrieve_args(node.args[index])
        elif argument.name in node.kwargs:
            value = importer._retrieve_args(node.kwargs[argument.name])
        else:
            value = argument.default_value if argument.has_default_value() else None
        values[argument.name] = value
    return values


def unsupported(node: fx.Node, problem: str) -> UnsupportedOperator:
    """The error of a converter that does not cover what the node asks for."""
    return UnsupportedOperator(
        f"{node.target} ({node.name}): {problem}",
        "extend its converter (sam3port/compiler/importing/converters), with a test",
    )
