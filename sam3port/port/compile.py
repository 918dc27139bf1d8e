"""Compile: machine code for ``main``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.errors import Sam3PortError
from sam3port.port.optimise import alone

if TYPE_CHECKING:
    from sam3port.targets.target import BuildTarget


def compile_library(module: Any, target: BuildTarget, file: Path) -> None:
    """Compiles ``main`` and all that it calls to the shared library ``file``."""
    import tvm

    executable = tvm.compile(alone(module, "main"), target=target.target())
    export_library(executable, file)


def export_library(executable: Any, file: Path) -> None:
    """Links what ``tvm.compile`` returned.

    Raises:
        Sam3PortError: there is no compiler to link with, or it fails.
    """
    try:
        executable.export_library(str(file))
    except RuntimeError as error:
        raise Sam3PortError(
            f"the library cannot be linked: {str(error).strip().splitlines()[-1]}",
            "a C++ compiler has to be installed (g++ or clang++); `sam3port doctor` looks for it",
        ) from error
