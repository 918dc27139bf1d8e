"""What a library was compiled for, kept beside it, and whether that is this machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sam3port.compiler.errors import InputError
from sam3port.compiler.stage import MACHINE
from sam3port.machine.features import missing_features, relevant
from sam3port.machine.place import host_of, place, place_of


@dataclass(frozen=True)
class Machine:
    """What a library was compiled for."""

    system: str
    """As ``platform.system()``: Linux, Darwin."""
    machine: str
    """As ``platform.machine()``."""
    tvm: dict[str, Any]
    """TVM's target."""
    cpu_features: tuple[str, ...]
    """LLVM's names of the instructions that it may use."""

    @property
    def here(self) -> bool:
        """Whether this machine's linker links for it."""
        return (self.system, self.machine) == place("")

    def require(self, folder: Path) -> None:
        """Raises InputError when this machine cannot run what lies in ``folder``: code would die of an instruction."""
        if not self.here:
            raise InputError(f"{folder} was built for another machine", "link and run it there, or build it here")
        if missing := missing_features(self.cpu_features):
            raise InputError(
                f"{folder} needs a CPU with {', '.join(missing)}, which this one lacks",
                "build it here, or for an older CPU: sam3port build --mcpu",
            )


def machine_of(target: Any) -> Machine:
    """Of a ``tvm.target.Target``; of a GPU, that of the program beside it."""
    from tvm.target import codegen

    host = host_of(target)
    system, machine = place_of(target)
    features: list[str] = []
    if host is not None and host.kind.name == "llvm":
        features = relevant(map(str, codegen.llvm_get_cpu_features(host)), machine)
    return Machine(system, machine, json.loads(str(target)), tuple(features))


def write_machine(machine: Machine, folder: Path) -> None:
    """Leaves `MACHINE` in ``folder``."""
    (folder / MACHINE).write_text(json.dumps(asdict(machine), indent=1), encoding="utf-8")


def read_machine(folder: Path) -> Machine:
    """What `write_machine` left in ``folder``."""
    content = json.loads((folder / MACHINE).read_text(encoding="utf-8"))
    return Machine(**{**content, "cpu_features": tuple(content["cpu_features"])})
