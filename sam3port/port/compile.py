"""Compile: machine code for ``main``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.errors import Sam3PortError
from sam3port.port.compiled_for import machine_of, write_machine
from sam3port.port.optimise import alone
from sam3port.port.stage import LIBRARY, OBJECTS

if TYPE_CHECKING:
    from sam3port.targets.target import BuildTarget


def compile_library(module: Any, target: BuildTarget, folder: Path) -> None:
    """Compiles ``main`` and all that it calls to the library of `library_name` in ``folder``, beside what it is for."""
    import tvm

    executable = tvm.compile(alone(module, "main"), target=target.target())
    export_library(executable, target, folder / library_name(target.target()))
    write_machine(machine_of(target.target()), folder)


def library_name(target: Any) -> str:
    """`LIBRARY`, or `OBJECTS` for a ``tvm.target.Target`` that this machine's linker cannot link for."""
    return LIBRARY if machine_of(target).here else OBJECTS


def export_library(executable: Any, target: BuildTarget, file: Path) -> None:
    """Links what ``tvm.compile`` returned.

    Raises:
        Sam3PortError: there is no compiler to link with, or it fails.
    """
    try:
        target.export(executable, file)
    except Sam3PortError:
        raise
    except RuntimeError as error:
        raise Sam3PortError(
            f"the library cannot be linked: {str(error).strip().splitlines()[-1]}",
            "a C++ compiler has to be installed (g++ or clang++); `sam3port doctor` looks for it",
        ) from error
