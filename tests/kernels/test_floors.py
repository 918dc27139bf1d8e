"""The kernels' rooms import in one direction: who reads one has to know what is below it, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest
from grimp import ImportGraph, Layer

from sam3port import kernels

_KERNELS = "sam3port.kernels"
_FLOORS = (
    Layer("pipeline"),
    Layer("dispatch", "default_schedule"),
    Layer("patterns"),
    Layer("workloads"),
    Layer("convolutions", "attention", "elementwise"),
    Layer("products"),
    Layer("scheduling"),
    Layer("formats"),
    Layer("codegen"),
)
"""Of kernels/cpu, from the roof down. Those on one floor do not import each other."""
_FOLDER = Path(kernels.__path__[0])


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return grimp.build_graph("sam3port", cache_dir=None)


def test_floors_of_the_cpu_import_downwards_only(graph: ImportGraph) -> None:
    assert not graph.find_illegal_dependencies_for_layers(layers=_FLOORS, containers={f"{_KERNELS}.cpu"})


def test_every_room_of_the_cpu_is_on_a_floor(graph: ImportGraph) -> None:
    rooms = {module.rpartition(".")[2] for module in graph.find_children(f"{_KERNELS}.cpu")}
    assert rooms == {room for floor in _FLOORS for room in floor.module_tails}


def test_modules_of_the_kernels_import_in_no_circle(graph: ImportGraph) -> None:
    modules = graph.find_descendants(_KERNELS)
    assert not [module for module in modules if _reaches_itself(graph, module)]


def test_cpus_and_gpus_know_what_is_common_and_nothing_of_each_other(graph: ImportGraph) -> None:
    layers = (Layer("cpu", "gpu"), Layer("common"))
    assert not graph.find_illegal_dependencies_for_layers(layers=layers, containers={_KERNELS})


def test_a_dependency_upwards_would_be_seen(graph: ImportGraph) -> None:
    turned = tuple(reversed(_FLOORS))
    assert graph.find_illegal_dependencies_for_layers(layers=turned, containers={f"{_KERNELS}.cpu"})


@pytest.mark.parametrize("file", sorted(_FOLDER.rglob("__init__.py")), ids=lambda file: file.parent.name)
def test_every_room_says_what_it_is_for(file: Path) -> None:
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert said is not None
    assert said.endswith(".")


def _reaches_itself(graph: ImportGraph, module: str) -> bool:
    own = graph.find_modules_directly_imported_by(module)
    return any(module == other or graph.chain_exists(importer=other, imported=module) for other in own)
