"""Operators on their own: a module through export, import and TVM, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from sam3port.compiler.importing.converter import Converter
from sam3port.plugins import load_plugins
from tests.compiled import compiled

CONVERTERS = load_plugins().converters()


class Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = self.function(*inputs)
        return result if isinstance(result, tuple) else (result,)


def through_tvm(
    function: Callable[..., Any], inputs: Sequence[torch.Tensor], converters: Mapping[str, Converter]
) -> list[NDArray[Any]]:
    """What TVM makes of ``function``: exported, imported, compiled by TVM's plain pipeline, run."""
    import tvm
    from tvm import relax

    arrays = {f"input_{index}": tensor.numpy() for index, tensor in enumerate(inputs)}
    program = export_module(Function(function), arrays)
    module = importing.import_program(program, converters).module
    with tvm.target.Target("llvm"):
        module = relax.get_pipeline("zero")(module)
    machine = relax.VirtualMachine(compiled(module, "llvm"), tvm.cpu())
    return [result.numpy() for result in machine["main"](*(tvm.runtime.tensor(array) for array in arrays.values()))]


@pytest.fixture
def agrees() -> Callable[..., None]:
    """``agrees(function, *inputs, rtol=, atol=)``: fails unless TVM with our converters says what PyTorch says."""

    def check(function: Callable[..., Any], *inputs: torch.Tensor, rtol: float = 1e-5, atol: float = 1e-6) -> None:
        with torch.no_grad():
            expected = Function(function)(*inputs)
        found = through_tvm(function, inputs, CONVERTERS)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.numpy().dtype
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=rtol, atol=atol)

    return check


@pytest.fixture
def without() -> Callable[..., list[NDArray[Any]]]:
    """``without(operator, function, *inputs)``: what TVM alone makes of it, our converter left out."""

    def run(operator: str, function: Callable[..., Any], *inputs: torch.Tensor) -> list[NDArray[Any]]:
        assert operator in CONVERTERS
        others = {name: converter for name, converter in CONVERTERS.items() if name != operator}
        return through_tvm(function, inputs, others)

    return run
