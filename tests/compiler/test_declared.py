"""A component must be what it declares."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sam3port.artifact.interface import Arrays, TensorSpec
from sam3port.compiler.declared import check_example, check_program
from sam3port.compiler.export import export_module
from sam3port.components.component import Component
from sam3port.errors import Sam3PortError
from sam3port.model.preset import Preset, preset


class Halves(Component):
    name: ClassVar[str] = "halves"
    summary: ClassVar[str] = "halves"
    upstream: ClassVar[str] = "none"

    def inputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (TensorSpec("x", (2, 4), "float32", ""), TensorSpec("y", (2, 4), "float32", ""))

    def outputs(self, preset: Preset) -> tuple[TensorSpec, ...]:
        return (TensorSpec("sum", (2, 4), "float32", ""), TensorSpec("more", (2, 4), "bool", ""))

    def module(self, model: Any, preset: Preset) -> torch.nn.Module:
        class Module(torch.nn.Module):
            def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                return x + y, x > y

        return Module()

    def example(self, preset: Preset, seed: int) -> Arrays:
        return {"x": np.zeros((2, 4), np.float32), "y": np.ones((2, 4), np.float32)}


SIZES = preset("tiny")


def check(component: Component) -> None:
    example = component.example(SIZES, 0)
    check_example(component, SIZES, example)
    check_program(component, SIZES, export_module(component.module(None, SIZES), example))


def test_what_agrees_passes() -> None:
    check(Halves())


def test_inputs_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Halves, "example", lambda *_: {"y": np.zeros((2, 4), "f"), "x": np.zeros((2, 4), "f")})
    with pytest.raises(Sam3PortError, match="y, x"):
        check(Halves())


def test_an_input_of_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Halves, "example", lambda *_: {"x": np.zeros((2, 4), "f"), "y": np.zeros((2, 1), "f")})
    with pytest.raises(Sam3PortError, match=r"y is float32\[2, 1\]"):
        check(Halves())


def test_an_output_of_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = (TensorSpec("sum", (2, 4), "float32", ""), TensorSpec("more", (2, 4), "int64", ""))
    monkeypatch.setattr(Halves, "outputs", lambda *_: specs)
    with pytest.raises(Sam3PortError, match=r"more is bool.*int64"):
        check(Halves())


def test_an_output_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Halves, "outputs", lambda *_: (TensorSpec("sum", (2, 4), "float32", ""),))
    with pytest.raises(Sam3PortError, match="returns 2 tensors, 1 are declared"):
        check(Halves())
