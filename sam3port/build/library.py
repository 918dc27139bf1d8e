"""The linked library in a file, and beside it what it needs of the machine that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.compiler import ir, objects
from sam3port.compiler.compile import link_kernels
from sam3port.compiler.compiled_for import Machine, machine_of, write_machine
from sam3port.compiler.entries import entries_for
from sam3port.compiler.link import link
from sam3port.compiler.stage import CALLS, KERNELS

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.cache.store import Store

_LIBRARY: Final = "model.so"
_OBJECTS: Final = "model.tar"


def model_file(machine: Machine) -> str:
    """Name of the library's file: ``model.so``, or ``model.tar`` with object code for another machine's linker."""
    return _LIBRARY if machine.here else _OBJECTS


def make_library(request: BuildRequest, kernels: Mapping[str, Path], store: Store, folder: Path) -> None:
    """Links the components of ``request``; leaves the library and what it was compiled for in ``folder``.

    Args:
        request: its components are those of its `sam3port.compiler.entries.entries_for`.
        kernels: by component, where Stage KERNELS left them.
        store: has machine code of kernels.
        folder: exists.
    """
    target = request.build_target()
    components = {name: request.component(name) for name in request.components}
    modules = {name: ir.load(kernels[name] / CALLS) for name in components}
    made = {name: code for each in components for name, code in objects.read(kernels[each] / KERNELS).items()}
    module = link(modules, components, request.sizes(), target, entries_for(request.traits))
    machine = machine_of(target.target())
    link_kernels(module, made, target, store, folder / model_file(machine))
    write_machine(machine, folder)
