"""What every stage of a built component left, as text for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam3port.build.runner import read_record
from sam3port.compiler import export, ir
from sam3port.compiler.stage import EXPORTED, LIBRARY, OPTIMISED, RELAX, Stage


def dump(built: Path, folder: Path) -> list[Path]:
    """Writes the programs in ``built`` (a folder that a build left) as text into ``folder``.

    Returns:
        The files: ``exported.txt`` (the traced graph), ``relax.py``, ``optimised.py`` (TVMScript) and ``compiled.txt``
        (the virtual machine's instructions), as far as the build got.
    """
    folder.mkdir(parents=True, exist_ok=True)
    readers = {
        Stage.EXPORT: ("exported.txt", lambda: str(export.load(built / EXPORTED))),
        Stage.IMPORT: ("relax.py", lambda: ir.text(ir.load(built / RELAX))),
        Stage.OPTIMISE: ("optimised.py", lambda: ir.text(ir.load(built / OPTIMISED))),
        Stage.COMPILE: ("compiled.txt", lambda: _instructions(built / LIBRARY)),
    }
    written = []
    for name in read_record(built)["stages"]:
        if name not in readers:
            continue  # numbers, which are no text
        file, text = readers[Stage(name)]
        (folder / file).write_text(text(), encoding="utf-8")
        written.append(folder / file)
    return written


def _instructions(library: Path) -> str:
    if not library.exists():
        return "compiled for another machine: this one cannot load it\n"
    import tvm
    from tvm import relax

    module: Any = tvm.runtime.load_module(str(library))
    text: str = (
        module["as_text"]() if module.implements_function("as_text") else str(relax.VMExecutable(module).as_text())
    )
    return text
