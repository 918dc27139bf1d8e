"""The proof of the import, operator by operator: it finds what is wrong, and finds nothing in the components."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam3port.artifact.interface import Arrays
from sam3port.compiler.export import export_module
from sam3port.compiler.importing.converter import arguments
from sam3port.inspect import operators
from sam3port.plugins import load_plugins
from tests.compiler.importing.conftest import CONVERTERS, Function
from tests.conftest import RunPython

DRAW = np.random.default_rng(0)


def program_of(function: Callable[..., Any], *arrays: np.ndarray) -> tuple[torch.export.ExportedProgram, Arrays]:
    inputs = {f"input_{index}": array for index, array in enumerate(arrays)}
    return export_module(Function(function), inputs), inputs


def numbers(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape, np.float32)


def model(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, indices = torch.max(torch.softmax(x @ y, -1), dim=-1)
    return values[:, -1] + 1, indices


def test_what_is_right_is_found_right() -> None:
    found = operators.check(*program_of(model, numbers(2, 3, 4), numbers(4, 5)), CONVERTERS)
    assert {finding.call.operator for finding in found} == {
        "aten.matmul.default",
        "aten._softmax.default",
        "aten.max.dim",
        "aten.select.int",
        "aten.add.Tensor",
    }
    assert all(finding.ok for finding in found), [finding.detail for finding in found]


def test_equal_calls_are_checked_once() -> None:
    program, inputs = program_of(lambda x: torch.relu(torch.relu(x) - 1) - 1, numbers(3))
    known: set[str] = set()
    assert len(operators.check(program, inputs, CONVERTERS, known=known)) == 2
    assert operators.check(program, inputs, CONVERTERS, known=known) == []


def wrong_matmul(node: torch.fx.Node, importer: Any) -> Any:
    from tvm import relax

    given = arguments(node, importer)
    product = importer.block_builder.emit(relax.op.matmul(given["self"], given["other"]))
    return importer.block_builder.emit(relax.op.multiply(product, relax.const(1.001)))


def test_a_converter_that_is_a_thousandth_off_is_named() -> None:
    broken = {**CONVERTERS, "matmul.default": replace(CONVERTERS["matmul.default"], convert=wrong_matmul)}
    found = operators.check(*program_of(model, numbers(2, 3, 4), numbers(4, 5)), broken)
    (wrong,) = [finding for finding in found if not finding.ok]
    assert wrong.call.operator == "aten.matmul.default"
    assert "in forward" in wrong.call.where
    assert "instead of" in wrong.detail


def test_tvms_own_grid_sample_is_found_wrong() -> None:
    def sample(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.grid_sample(image, grid, align_corners=False)

    others = {name: made for name, made in CONVERTERS.items() if name != "grid_sampler_2d.default"}
    found = operators.check(*program_of(sample, numbers(1, 2, 4, 4), numbers(1, 2, 2, 2)), others)
    assert [finding.ok for finding in found] == [False]


def test_nothing_wrong_is_hidden_by_infinities_and_nan() -> None:
    assert operators._error(np.array([np.inf, 1]), np.array([np.inf, 1]))[0] == 0
    assert operators._error(np.array([np.nan, 1]), np.array([np.nan, 1]))[0] == 0
    assert operators._error(np.array([np.inf, 1]), np.array([1, 1]))[0] > 1
    assert operators._error(np.array([1.0, 1]), np.array([np.nan, 1]))[0] > 1
    assert operators._error(np.array([np.inf, 1]), np.array([-np.inf, 1]))[0] > 1
    assert operators._error(np.array([0.0]), np.array([0.1]))[0] > 1
    assert operators._error(np.array([True]), np.array([False]))[0] > 1
    assert operators._error(np.zeros(2), np.zeros(3))[0] > 1


SCRIPT = """
import json, sys
from pathlib import Path
from sam3port.model.preset import preset
from sam3port.patching.install import make_plan
from sam3port.plugins import load_plugins
from sam3port.inspect import operators
from sam3port.compiler.export import load
from sam3port.compiler.stage import EXPORTED
from sam3port.targets.cpu import CpuTarget

for patch in make_plan(None, frozenset()).patches:
    if patch.prepare is not None:
        patch.prepare()
plugins, sizes, known, report = load_plugins(), preset("tiny"), set(), {}
for name, cls in plugins.components().items():
    component, program = cls(), load(BUILT / name / EXPORTED)
    found = operators.check(program, component.example(sizes, 1), plugins.converters(), CpuTarget(), known)
    report[name] = {
        "uses": list(operators.operators_of(program, plugins.converters())),
        "checked": [finding.call.operator for finding in found],
        "wrong": [[f.call.operator, f.detail, f.call.where] for f in found if not f.ok],
    }
Path("report.json").write_text(json.dumps(report))
"""


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    return {}


@pytest.fixture
def report(reports: dict[str, Any], upstream_python: RunPython, tiny_built: Path, tmp_path: Path) -> dict[str, Any]:
    """What the components use and what was found, from one interpreter of its own."""
    if not reports:
        done = upstream_python(f"from pathlib import Path\nBUILT = Path({str(tiny_built)!r})\n{SCRIPT}", timeout=1800)
        assert done.returncode == 0, done.stderr[-3000:]
        reports.update(json.loads((tmp_path / "report.json").read_text()))
    return reports


@pytest.mark.parametrize("component", load_plugins().components())
def test_every_operator_of_a_component_is_imported_rightly(component: str, report: dict[str, Any]) -> None:
    assert report[component]["uses"]
    assert report[component]["wrong"] == []


def test_no_operator_goes_unchecked(report: dict[str, Any]) -> None:
    used = {operator for entry in report.values() for operator in entry["uses"]}
    checked = {operator for entry in report.values() for operator in entry["checked"]}
    assert used == checked
