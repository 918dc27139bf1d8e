"""Kernels and compile: machine code for ``main``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.compiler import ir, objects
from sam3port.compiler.compiled_for import machine_of, write_machine
from sam3port.compiler.optimise import alone
from sam3port.compiler.stage import CALLS, KERNELS, LIBRARY, OBJECTS
from sam3port.errors import Sam3PortError

if TYPE_CHECKING:
    from sam3port.cache.store import Store
    from sam3port.targets.target import BuildTarget


@dataclass(frozen=True)
class Compiled:
    """Functions and the machine code of the kernels that they call."""

    calls: Any
    """Relax functions that call kernels by name; with kernels in it where these are not compiled apart."""
    kernels: Mapping[str, bytes]
    """Object files by the kernels' names."""

    @classmethod
    def read(cls, folder: Path) -> Compiled:
        """What `compile_kernels` left.

        Raises:
            Sam3PortError: a file is absent or damaged.
        """
        return cls(ir.load(folder / CALLS), objects.read(folder / KERNELS))


def compile_kernels(module: Any, target: BuildTarget, store: Store, report: objects.Report, folder: Path) -> Compiled:
    """Compiles all kernels that ``main`` calls; leaves `CALLS` and `KERNELS` in ``folder``.

    Args:
        module: from `sam3port.compiler.optimise.optimise`.
        target: what it was optimised for.
        store: has the kernels that were compiled before, and gets the others.
        report: is told how far it is.
        folder: exists.
    """
    compiled = _apart(alone(module, "main"), ["main"], target, store, report)
    ir.save(compiled.calls, folder / CALLS)
    objects.write(folder / KERNELS, compiled.kernels)
    return compiled


def compile_library(compiled: Compiled, target: BuildTarget, folder: Path) -> None:
    """Makes the library of `library_name` in ``folder``, beside what it is for."""
    export_library(compiled, target, folder / library_name(target.target()))
    write_machine(machine_of(target.target()), folder)


def library_name(target: Any) -> str:
    """`LIBRARY`, or `OBJECTS` for a ``tvm.target.Target`` that this machine's linker cannot link for."""
    return LIBRARY if machine_of(target).here else OBJECTS


def link_kernels(module: Any, made: Mapping[str, bytes], target: BuildTarget, store: Store, file: Path) -> None:
    """Makes a library of linked components.

    Args:
        module: from `sam3port.compiler.link.link`; it may have kernels of its own.
        made: machine code of the kernels that it calls by name.
        target: what they were compiled for.
        store: as for `compile_kernels`.
        file: gets it.
    """
    from tvm import relax

    entries = [str(name.name_hint) for name, each in module.functions_items() if isinstance(each, relax.Function)]
    own = _apart(module, entries, target, store, lambda _done, _all: None)
    export_library(Compiled(own.calls, {**made, **own.kernels}), target, file)


def _apart(module: Any, entries: list[str], target: BuildTarget, store: Store, report: objects.Report) -> Compiled:
    """``module`` with its kernels compiled apart; as it is where that cannot be."""
    if not objects.compiles_apart(target):
        return Compiled(module, {})
    from sam3port.compiler.outline import outline

    calls, kernels = outline(module, entries)
    return Compiled(calls, objects.Objects(target, store).compile(kernels, report))


def export_library(compiled: Compiled, target: BuildTarget, file: Path) -> None:
    """Links functions and kernels.

    Raises:
        Sam3PortError: there is no compiler to link with, or it fails.
    """
    import tvm

    from sam3port.compiler.outline import executable

    make = executable if objects.compiles_apart(target) else tvm.compile
    made = make(compiled.calls, target.target())
    try:
        with tempfile.TemporaryDirectory(prefix="sam3port-link-") as folder:
            objects.attach(made, compiled.kernels, Path(folder))
            target.export(made, file)
    except Sam3PortError:
        raise
    except RuntimeError as error:
        raise Sam3PortError(
            f"the library cannot be linked: {str(error).strip().splitlines()[-1]}",
            "a C++ compiler has to be installed (g++ or clang++); `sam3port doctor` looks for it",
        ) from error
