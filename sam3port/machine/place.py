"""Which kind of machine code is for: its system and architecture."""

from __future__ import annotations

import platform
from typing import Any


def place(triple: str) -> tuple[str, str]:
    """System and machine, by Python's names, of an LLVM triple such as ``arm64-apple-macos``; of none, this one's."""
    if not triple:
        return platform.system(), platform.machine()
    architecture, _, rest = triple.partition("-")
    names = {"linux": "Linux", "macos": "Darwin", "darwin": "Darwin", "windows": "Windows"}
    system = next((name for part, name in names.items() if part in rest), rest)
    if architecture in {"aarch64", "arm64"}:
        architecture = "arm64" if system == "Darwin" else "aarch64"
    return system, architecture


def host_of(target: Any) -> Any:
    """The CPU of a ``tvm.target.Target``: itself, or the host of a GPU; None where it has none."""
    return target if target.kind.name == "llvm" else target.host


def place_of(target: Any) -> tuple[str, str]:
    """`place` of a ``tvm.target.Target`` 's CPU."""
    host = host_of(target)
    return place(str(host.attrs.get("mtriple", "")) if host is not None else "")
