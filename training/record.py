"""What a run leaves behind: a log, and checkpoints that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def log_step(file: Path, step: int, values: dict[str, float], seconds: float) -> None:
    """Adds a line of JSON to the log; values are rounded to five digits."""
    rounded = {name: float(f"{value:.5g}") for name, value in values.items()}
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": step, "seconds": round(seconds, 1), **rounded}) + "\n")


def steps_of(file: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def save_whole(file: Path, state: dict[str, Any]) -> None:
    """`torch.save`, which replaces the file only once all is written."""
    aside = file.with_name(f"{file.name}.new")
    torch.save(state, aside)
    aside.replace(file)
