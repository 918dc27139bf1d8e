"""Export: the component's module as torch.export sees it, with its weights."""

from __future__ import annotations

import contextlib
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.artifact.interface import Arrays

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def export_module(module: torch.nn.Module, inputs: Arrays) -> ExportedProgram:
    """Traces ``module`` in eval mode, without gradients, at the shapes of ``inputs`` (which are in forward's order)."""
    import torch

    tensors = tuple(torch.from_numpy(array.copy()) for array in inputs.values())
    module.eval()
    with torch.no_grad(), quiet():
        # Not strict: upstream's modules hold caches and Python state that Dynamo would guard on.
        return torch.export.export(module, tensors, strict=False)


def save(program: ExportedProgram, file: Path) -> None:
    """Writes the program with its weights. The example inputs stay out: they are known from the component's seed."""
    import torch

    program.example_inputs = None
    with quiet():
        torch.export.save(program, file)


def load(file: Path) -> ExportedProgram:
    """What `save` wrote."""
    import torch

    with quiet(), _remembered_type_hints():
        program: ExportedProgram = torch.export.load(file)
    return program


@contextlib.contextmanager
def _remembered_type_hints() -> Iterator[None]:
    """torch 2.13 asks anew, for each of 10,000 objects in a program, which types its class's fields have: half of the
    time that reading takes."""
    asked = typing.get_type_hints
    known: dict[Any, dict[str, Any]] = {}

    def remembered(of: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        key = (of, tuple(map(id, arguments)), tuple((name, id(value)) for name, value in options.items()))
        if key not in known:
            known[key] = asked(of, *arguments, **options)
        return known[key]

    typing.get_type_hints = remembered  # type: ignore[assignment]
    try:
        yield
    finally:
        typing.get_type_hints = asked


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without torch 2.13's warnings about its own use of pytree."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        yield
