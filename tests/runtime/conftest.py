"""The tiny artifact opened once, and copies of it that may be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import sam3port
from sam3port.runtime.model import Model


@pytest.fixture(scope="session")
def model(tiny_artifact: Path) -> Model:
    return sam3port.load(tiny_artifact)


@pytest.fixture
def copy_of_artifact(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that may be changed; a cache of its own, so that nothing is remembered of others."""
    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return folder
