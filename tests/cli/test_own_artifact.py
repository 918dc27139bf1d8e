"""``sam3port segment`` without an artifact: the demo's model is built on first use, once, then found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sam3port.cli import own_artifact as artifact
from sam3port.demo.example import example
from sam3port.errors import UsageError
from sam3port.machine import packages
from tests.cli.conftest import Program, sam3port

__all__ = ["sam3port"]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders that were built, in an empty cache, by a build that does nothing."""
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")

    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(artifact, "_build", build)
    return built


def test_it_is_built_once(builds: list[Path], tmp_path: Path) -> None:
    first, second = artifact.own_artifact(), artifact.own_artifact()
    assert builds == [first] == [second]
    assert first.is_relative_to(tmp_path / "cache")


def test_another_state_of_the_program_builds_its_own(builds: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = artifact.own_artifact()
    monkeypatch.setattr(artifact, "_identity", lambda: "another")
    assert artifact.own_artifact() != first
    assert len(builds) == 2


def test_where_nothing_can_be_built_it_says_what_to_do(builds: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda _extra: ["torch", "torchvision"])
    with pytest.raises(UsageError, match="no --artifact is given, and building the demo's needs torch") as raised:
        artifact.own_artifact()
    assert "give --artifact DIR, or pip install 'sam3port[build]'" in raised.value.remedy
    assert not builds


def test_a_users_first_try(sam3port: Program, demo_artifact: Path, tmp_path: Path) -> None:
    """For real: a picture and a text, and no other option."""
    assert demo_artifact.is_dir()  # whose stages this build finds in the cache
    shown = example()
    Image.fromarray(shown.scene.pixels).save(tmp_path / "scene.png")
    for _ in range(2):
        ran = sam3port("segment", "scene.png", "--text", shown.there, timeout=600)
        assert ran.returncode == 0, ran.stderr
        (annotation,) = json.loads((tmp_path / "segmented" / "annotations.json").read_text())["annotations"]
        assert annotation["score"] > 0.5
    assert "no --artifact is given" not in ran.stderr
