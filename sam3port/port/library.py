"""The linked library in a file, and beside it what it needs of the machine that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.port import ir
from sam3port.port.compile import export_library
from sam3port.port.compiled_for import Machine, machine_of, write_machine
from sam3port.port.link import link
from sam3port.port.stage import OPTIMISED

if TYPE_CHECKING:
    from sam3port.port.request import BuildRequest

_LIBRARY: Final = "model.so"
_OBJECTS: Final = "model.tar"


def model_file(machine: Machine) -> str:
    """Name of the library's file: ``model.so``, or ``model.tar`` with object code for another machine's linker."""
    return _LIBRARY if machine.here else _OBJECTS


def make_library(request: BuildRequest, optimised: Mapping[str, Path], folder: Path) -> None:
    """Links and compiles the components of ``request``; leaves the library and what it was compiled for in ``folder``.

    Args:
        request: its components are those of `sam3port.port.entries.ENTRIES`.
        optimised: by component, where Stage OPTIMISE left it.
        folder: exists.
    """
    import tvm

    target = request.build_target()
    components = {name: request.component(name) for name in request.components}
    modules = {name: ir.load(optimised[name] / OPTIMISED) for name in components}
    module = link(modules, components, request.sizes(), target)
    machine = machine_of(target.target())
    executable = tvm.compile(module, target=target.target())
    export_library(executable, target, folder / model_file(machine))
    write_machine(machine, folder)
