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
    """Whether the real module can be imported here (looks for it, does not import it)."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def module(name: str) -> Any:
    """The real module when it is installed, else the stand-in that a plugin declared for it.

    Raises:
        UsageError: no plugin declares a stub of that name.
    """
    if installed(name):
        return importlib.import_module(name)
    from sam3port.plugins import load_plugins

    stubs = load_plugins().stubs()
    if name not in stubs:
        known = ", ".join(sorted(stubs)) or "none"
        raise UsageError(f"no plugin declares a stub for the absent module {name!r} (declared: {known})")
    return AbsentAttribute(stubs[name], name)
