"""Every hook of sam3port. Built-ins, the files in ``patches/`` and third-party packages use exactly these.

A third party's distribution names a module (or object) in the entry-point group ``sam3port``; its functions
marked with ``hookimpl`` and named as below are called. A misspelt hook name is refused when it is registered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    import click

    from sam3port.compiler.importing.converter import Converter
    from sam3port.components.component import Component
    from sam3port.patching.patch import Patch
    from sam3port.stubs.stub import Stub
    from sam3port.targets.target import BuildTarget

PROJECT: Final = "sam3port"

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


@hookspec
def sam3port_patches() -> Iterable[Patch]:  # type: ignore[empty-body]
    """Patches to apply to upstream's source at import time.

    Importing the plugin and calling this must be cheap: no torch, no tvm, no numpy, no upstream.
    """


@hookspec
def sam3port_stubs() -> Iterable[Stub]:  # type: ignore[empty-body]
    """Stand-ins for modules that upstream imports and that may be absent.

    A stub is used by the edits that name it (``sam3port.stubs.module("triton")``); it never enters ``sys.modules``.
    """


@hookspec
def sam3port_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Commands of ``sam3port``. Import what is heavy inside the command's function."""


@hookspec
def sam3port_components() -> Iterable[type[Component]]:  # type: ignore[empty-body]
    """Stages of SAM 3 to export, import, compile and verify (see `sam3port.components.component`)."""


@hookspec
def sam3port_converters() -> Iterable[Converter]:  # type: ignore[empty-body]
    """How ATen operators become Relax where TVM's own way is missing or wrong (`sam3port.compiler.importing`)."""


@hookspec
def sam3port_targets() -> Iterable[type[BuildTarget]]:  # type: ignore[empty-body]
    """Machines to compile for (see `sam3port.targets.target`)."""
