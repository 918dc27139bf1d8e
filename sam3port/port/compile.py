"""Kernels and compile: machine code for ``main``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.errors import Sam3PortError
from sam3port.port import ir, objects
from sam3port.port.compiled_for import machine_of, write_machine
from sam3port.port.optimise import alone
from sam3port.port.stage import CALLS, KERNELS, LIBRARY, OBJECTS

if TYPE_CHECKING:
    from sam3port.port.store import Store
    from sam3port.targets.target import BuildTarget


def compile_kernels(module: Any, target: BuildTarget, store: Store, report: objects.Report, folder: Path) -> None:
    """Compiles all kernels that ``main`` calls; leaves `CALLS` and `KERNELS` in ``folder``.

    Args:
        module: from `sam3port.port.optimise.optimise`.
        target: what it was optimised for.
        store: has the kernels that were compiled before, and gets the others.
        report: is told how far it is.
        folder: exists.
    """
    calls, made = _apart(alone(module, "main"), ["main"], target, store, report)
    ir.save(calls, folder / CALLS)
    objects.write(folder / KERNELS, made)


def compile_library(kernels: Path, target: BuildTarget, folder: Path) -> None:
    """Makes the library of `library_name` in ``folder``, beside what it is for, of what `compile_kernels` left."""
    made = objects.read(kernels / KERNELS)
    export_library(ir.load(kernels / CALLS), made, target, folder / library_name(target.target()))
    write_machine(machine_of(target.target()), folder)


def library_name(target: Any) -> str:
    """`LIBRARY`, or `OBJECTS` for a ``tvm.target.Target`` that this machine's linker cannot link for."""
    return LIBRARY if machine_of(target).here else OBJECTS


def link_kernels(module: Any, made: Mapping[str, bytes], target: BuildTarget, store: Store, file: Path) -> None:
    """Makes a library of linked components.

    Args:
        module: from `sam3port.port.link.link`; it may have kernels of its own.
        made: machine code of the kernels that it calls by name.
        target: what they were compiled for.
        store: as for `compile_kernels`.
        file: gets it.
    """
    from tvm import relax

    entries = [str(name.name_hint) for name, each in module.functions_items() if isinstance(each, relax.Function)]
    calls, own = _apart(module, entries, target, store, lambda _done, _all: None)
    export_library(calls, {**made, **own}, target, file)


def _apart(
    module: Any, entries: list[str], target: BuildTarget, store: Store, report: objects.Report
) -> tuple[Any, dict[str, bytes]]:
    """``module`` with calls of kernels by name, and these kernels' machine code; all as it is where that cannot be."""
    if not objects.compiles_apart(target):
        return module, {}
    from sam3port.port.outline import outline

    calls, kernels = outline(module, entries)
    return calls, objects.Objects(target, store).compile(kernels, report)


def export_library(calls: Any, made: Mapping[str, bytes], target: BuildTarget, file: Path) -> None:
    """Links functions and kernels.

    Raises:
        Sam3PortError: there is no compiler to link with, or it fails.
    """
    import tvm

    from sam3port.port.outline import executable

    compiled = executable if objects.compiles_apart(target) else tvm.compile
    made_of = compiled(calls, target.target())
    try:
        with tempfile.TemporaryDirectory(prefix="sam3port-link-") as folder:
            objects.attach(made_of, made, Path(folder))
            target.export(made_of, file)
    except Sam3PortError:
        raise
    except RuntimeError as error:
        raise Sam3PortError(
            f"the library cannot be linked: {str(error).strip().splitlines()[-1]}",
            "a C++ compiler has to be installed (g++ or clang++); `sam3port doctor` looks for it",
        ) from error
