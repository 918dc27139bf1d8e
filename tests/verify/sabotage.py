"""Breaks one thing of a port on purpose, from outside: by an installed plugin that reaches every process of a build."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from tests.patching.lab import distribution


def made_wrong(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A converter's function whose results are 1 % too large, off by one, or false throughout."""

    def convert(node: Any, importer: Any) -> Any:
        from tvm import relax

        emit = importer.block_builder.emit
        result = original(node, importer)
        dtype = str(result.ty.dtype)
        if dtype == "bool":
            return emit(relax.op.logical_and(result, emit(relax.op.logical_not(result))))
        if dtype.startswith("float"):
            return emit(relax.op.multiply(result, relax.const(1.01, dtype)))
        return emit(relax.op.add(result, relax.const(1, dtype)))

    return convert


CONVERTER = '''
    """Makes the converter of {operator} wrong."""

    from __future__ import annotations

    import dataclasses
    import importlib
    import pkgutil

    import sam3port.compiler.importing.converters as ours
    from sam3port.compiler.importing.converter import Converter


{made_wrong}

    found = 0
    for file in pkgutil.iter_modules(ours.__path__):
        module = importlib.import_module(f"{{ours.__name__}}.{{file.name}}")
        for name, value in list(vars(module).items()):
            if isinstance(value, Converter) and value.operator == {operator!r}:
                setattr(module, name, dataclasses.replace(value, convert=made_wrong(value.convert)))
                found += 1
    assert found == 1
'''

PATCH = '''
    """Makes an edit of the patch {patch} wrong."""

    import dataclasses

    import sam3port.patches.{patch} as ours

    right, wrong = {right!r}, {wrong!r}
    edits = [
        dataclasses.replace(edit, after=edit.after.replace(right, wrong)) if right in edit.after else edit
        for edit in ours.PATCH.edits
    ]
    assert sum(new != old for new, old in zip(edits, ours.PATCH.edits)) >= 1
    ours.PATCH = dataclasses.replace(ours.PATCH, edits=tuple(edits))
'''


HOOK = """

from sam3port.hookspecs import hookimpl


@hookimpl
def sam3port_stubs():
    return []  # a plugin without any hook would be refused
"""


def installed(folder: Path, source: str) -> dict[str, str]:
    """The environment in which the saboteur is installed.

    Args:
        folder: is filled.
        source: of its module.
    """
    distribution(folder, "saboteur", dedent(source) + HOOK)
    return {"PYTHONPATH": str(folder)}


def broken_converter(folder: Path, operator: str) -> dict[str, str]:
    """The converter is `made_wrong`."""
    source = indent(inspect.getsource(made_wrong), "    ")
    return installed(folder, CONVERTER.format(operator=operator, made_wrong=source))


def broken_patch(folder: Path, patch: str, right: str, wrong: str) -> dict[str, str]:
    """Where the patch puts ``right`` it puts ``wrong``."""
    return installed(folder, PATCH.format(patch=patch, right=right, wrong=wrong))
