"""Relax modules in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam3port.errors import Sam3PortError


def save(module: Any, file: Path) -> None:
    """Writes a module as TVM's JSON, which keeps everything; `text` is for people."""
    import tvm

    file.write_text(tvm.ir.save_json(module), encoding="utf-8")


def load(file: Path) -> Any:
    """What `save` wrote.

    Raises:
        Sam3PortError: the file is absent, damaged or of another TVM.
    """
    import tvm

    try:
        return tvm.ir.load_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError) as error:
        said = (str(error).strip().splitlines() or ["no message"])[-1]
        raise Sam3PortError(f"{file} cannot be read: {said}", "build it again from an earlier stage") from error


def text(module: Any) -> str:
    """TVMScript."""
    script: str = module.script()
    return script
