"""Comparison with a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import tvm

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from sam3port.compiler.importing.converter import Converter
from tests.compiler.importing.conftest import CONVERTERS, Function

F = torch.tensor([-1.0, 0.0, 1.0, 1.5, torch.nan])
I = torch.tensor([-1, 0, 1, 2])  # noqa: E741
B = torch.tensor([True, False])


@pytest.mark.parametrize("number", [0, 1, 2, 1.0, 1.5, -1, True, False])
def test_every_type_with_every_number(agrees: Callable[..., None], number: float) -> None:
    agrees(lambda f, i, b: tuple(y for x in (f, i, b) for y in (x == number, x != number)), F, I, B)


def vectors_of_booleans(converters: dict[str, Converter]) -> Any:
    """``mask != True`` on 64 booleans, in vectors of 16, compiled."""
    mask = torch.rand(64, generator=torch.Generator().manual_seed(0)) > 0.5
    program = export_module(Function(lambda x: (x != True) | x), {"mask": mask.numpy()})  # noqa: E712
    module = tvm.relax.transform.LegalizeOps()(importing.import_program(program, converters).module)
    schedule = tvm.s_tir.Schedule(module)
    for variable, function in module.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc):
            schedule.work_on(variable.name_hint)
            (block,) = schedule.get_child_blocks(schedule.get_sblock("root"))
            (loop,) = schedule.get_loops(block)
            schedule.vectorize(schedule.split(loop, [None, 16])[1])
    return tvm.compile(schedule.mod, target="llvm")


def test_vectors_of_booleans_compile() -> None:
    vectors_of_booleans(CONVERTERS)


def test_tvm_alone_cannot_compile_vectors_of_booleans() -> None:
    others = {name: made for name, made in CONVERTERS.items() if name != "ne.Scalar"}
    with pytest.raises(RuntimeError, match="fcmp"):
        vectors_of_booleans(others)
