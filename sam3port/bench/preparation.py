"""What a contest needs beforehand, made by a process of its own, which takes its libraries with it when it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sam3port import children
from sam3port.errors import Sam3PortError


class PreparationFailed(Sam3PortError):
    """There is nothing to measure yet."""


def prepared(module: str, *arguments: str, file: Path, failed: str) -> Any:
    """The content of the JSON ``file`` that ``python -m MODULE ARGUMENTS`` writes.

    Raises:
        PreparationFailed: it did not; ``failed`` in words, and the last line that it said.
    """
    process = children.run(module, *arguments)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        said = [line.strip() for line in process.stderr.splitlines() if line.strip()]
        raise PreparationFailed(f"{failed}: {said[-1] if said else f'status {process.returncode}'}") from None
