"""Who may import what: the table of docs/architecture.md holds for every module, inside functions too."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import grimp
import pytest

PACKAGE: Final = "sam3port"
TABLE: Final = Path(__file__).parents[1] / "docs" / "architecture.md"
_NAME: Final = re.compile(r"`([\w.]+)`")
_ANYWHERE: Final = {"errors", "__init__"}
"""Errors for people, and the version."""


def rows() -> dict[str, tuple[set[str], set[str]]]:
    """Of each room its own rooms that it may import, and distributions of others."""
    found = {}
    text = TABLE.read_text(encoding="utf-8").partition("## What may import what")[2].partition("\n## ")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and (names := _NAME.findall(cells[0])):
            ours, others = (set(_NAME.findall(cell)) for cell in cells[2:])
            found.update(dict.fromkeys(names, (ours, others)))
    return found


def room(module: str) -> str:
    """The room of a module of ours: a package, or a module that lies beside them."""
    return [*module.split("."), "__init__"][1]


GRAPH: Final = grimp.build_graph(
    PACKAGE, exclude_type_checking_imports=True, include_external_packages=True, cache_dir=None
)
# The package itself offers the runtime and the patches by name: who asks it for its version needs neither.
for offered in GRAPH.find_modules_directly_imported_by(PACKAGE):
    GRAPH.remove_import(importer=PACKAGE, imported=offered)
OURS: Final = sorted(module for module in GRAPH.modules if module.split(".")[0] == PACKAGE)
ROOMS: Final = sorted({room(module) for module in OURS} - {"__init__", "__main__", "autoload"})


def test_the_table_has_every_room_and_no_other() -> None:
    assert sorted(rows()) == ROOMS


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_what_the_table_says(name: str) -> None:
    allowed, others = rows()[name]
    wrong = []
    for module in OURS:
        if room(module) != name:
            continue
        for imported in sorted(GRAPH.find_modules_directly_imported_by(module)):
            top = imported.split(".")[0]
            if top == PACKAGE:
                right = room(imported) in {name, *allowed, *_ANYWHERE}
            else:
                right = top in sys.stdlib_module_names or top in others
            if not right:
                wrong.append(f"{module} -> {imported}")
    assert wrong == []


def test_the_table_has_nothing_that_nobody_imports() -> None:
    """A row is what is so, and not what might be."""
    for name, (allowed, others) in rows().items():
        modules = [module for module in OURS if room(module) == name]
        imported = {each for module in modules for each in GRAPH.find_modules_directly_imported_by(module)}
        ours = {room(each) for each in imported if each.split(".")[0] == PACKAGE}
        assert (allowed - ours, others - {each.split(".")[0] for each in imported}) == (set(), set()), name


def test_rooms_form_no_circle() -> None:
    """Each room can be understood when those that it imports are; hooks know what they deliver by type alone."""
    imports = {name: rows()[name][0] for name in ROOMS}
    while imports:
        floor = {name for name, allowed in imports.items() if not allowed & set(imports) - {name}}
        assert floor, f"a circle among {sorted(imports)}"
        imports = {name: allowed for name, allowed in imports.items() if name not in floor}


def test_what_runs_an_artifact_needs_nothing_that_builds_one() -> None:
    """Directly or through others, and whatever the user asks for."""
    heavy = {"torch", "torchvision", "sam3", "scipy", "matplotlib", "timm"}
    builders = {"build", "compiler", "kernels", "targets", "components", "model", "patching", "upstream", "tuning"}
    for start in ("artifact", "runtime", "serve"):
        for module in (module for module in OURS if room(module) == start):
            reached = GRAPH.find_upstream_modules(module)
            assert not heavy & {each.split(".")[0] for each in reached}, module
            assert not builders & {room(each) for each in reached if each.split(".")[0] == PACKAGE}, module
