"""requirements.txt of an artifact: what sam3port asks for itself, and enough to run it."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

import sam3port
from sam3port.port.requirements import RUNTIME, requirements

PACKAGE = Path(sam3port.__file__).parent


def test_they_are_those_of_the_package() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {str(Requirement(text)) for text in project["dependencies"]}
    assert {str(Requirement(text)) for text in RUNTIME} <= asked
    assert f"sam3port=={sam3port.__version__}" in requirements()


def test_all_that_the_runtime_imports_is_there() -> None:
    distributions = packages_distributions()
    named = {Requirement(text).name for text in RUNTIME}
    for file in sorted((PACKAGE / "runtime").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            for module in (name.partition(".")[0] for name in modules):
                if module != "sam3port" and module not in sys.stdlib_module_names:
                    assert {name.lower() for name in distributions[module]} & named, f"{file}: {module}"
