"""How tests run the training's commands, and read what a run wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import clean_environment

ROOT = Path(__file__).resolve().parents[2]


def training(*words: str) -> subprocess.CompletedProcess[str]:
    """``python -m training WORDS`` in this repository."""
    command = [sys.executable, "-m", "training", *words]
    return subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=900, check=False
    )


def log(folder: Path, name: str = "log.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
