"""The linked library in a file, and what it needs of the machine that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.machine.features import relevant
from sam3port.machine.place import host_of, place, place_of
from sam3port.port import ir
from sam3port.port.compile import export_library
from sam3port.port.link import link
from sam3port.port.stage import OPTIMISED

if TYPE_CHECKING:
    from sam3port.port.request import BuildRequest

MACHINE: Final = "machine.json"
"""Beside the library in the store: a `Machine`."""


@dataclass(frozen=True)
class Machine:
    """What a library was compiled for."""

    library: str
    """Name of its file: ``model.so``, or ``model.tar`` with object code for another machine's linker."""
    system: str
    """As ``platform.system()``: Linux, Darwin."""
    machine: str
    """As ``platform.machine()``."""
    tvm: dict[str, Any]
    """TVM's target."""
    cpu_features: tuple[str, ...]
    """LLVM's names of the instructions that it may use."""


def make_library(request: BuildRequest, optimised: Mapping[str, Path], folder: Path) -> None:
    """Links and compiles the components of ``request``; leaves the library and `MACHINE` in ``folder``.

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
    machine = _machine(target.target())
    executable = tvm.compile(module, target=target.target())
    export_library(executable, target, folder / machine.library)
    (folder / MACHINE).write_text(json.dumps(asdict(machine), indent=1), encoding="utf-8")


def read_machine(folder: Path) -> Machine:
    """What `make_library` wrote into ``folder``."""
    content = json.loads((folder / MACHINE).read_text(encoding="utf-8"))
    return Machine(**{**content, "cpu_features": tuple(content["cpu_features"])})


def _machine(target: Any) -> Machine:
    from tvm.target import codegen

    host = host_of(target)
    system, machine = place_of(target)
    features: list[str] = []
    if host is not None and host.kind.name == "llvm":
        features = relevant(map(str, codegen.llvm_get_cpu_features(host)), machine)
    here = (system, machine) == place("")
    return Machine("model.so" if here else "model.tar", system, machine, json.loads(str(target)), tuple(features))
