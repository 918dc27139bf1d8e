"""Modules that upstream imports and this machine lacks.

An edit replaces ``import triton`` by ``triton = sam3port.stubs.module("triton")``. The stand-in is a value in
upstream's module and nothing else: ``sys.modules`` never sees it, because a fake triton there breaks torch itself
(torch._inductor asks it for ``Config`` and ``backends``).
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from sam3port.errors import UsageError
from sam3port.stubs.stub import AbsentAttribute, Stub

__all__ = ["Stub", "installed", "module"]


def installed(name: str) -> bool:
    """Whether the real module can be imported here (looks for it, does not import it).

    A folder of that name on the path, such as a clone of triton, is none: it has no loader.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.loader is not None


def module(name: str) -> Any:
    """The real module when it is installed, else the stand-in that a plugin declared for it.

    Raises:
        UsageError: no plugin declares a stub of that name.
    """
    if installed(name):
        return importlib.import_module(name)
    from sam3port.plugins import load_plugins, switched_off

    stubs = load_plugins(switched_off()).stubs()  # `install` has put what is off into SAM3PORT_DISABLE
    if name not in stubs:
        known = ", ".join(sorted(stubs)) or "none"
        raise UsageError(f"no plugin declares a stub for the absent module {name!r} (declared: {known})")
    return AbsentAttribute(stubs[name], name)
