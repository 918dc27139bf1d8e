"""What docs/segment.md shows is run as it stands there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from sam3port.cli.main import main
from tests.test_documents import ROOT, blocks

PAGE = ROOT / "docs" / "segment.md"


@pytest.fixture
def place(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the examples name, in the current folder."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "artifact").symlink_to(tiny_artifact)
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "photo.jpg")
    Image.fromarray(skimage.data.camera()).save(tmp_path / "grey.png")
    (tmp_path / "photos").mkdir()
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "photos" / "cat.png")
    (tmp_path / "labels.txt").write_text("yellow bus\nperson\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[str]:
    return [line for block in blocks(PAGE, "sh") for line in block.splitlines()]


def test_the_commands(place: Path) -> None:
    wrote = set()
    for command in commands():
        program, *words = shlex.split(command)
        assert program == "sam3port"
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, command
        wrote |= {file.relative_to(place).as_posix() for file in place.glob("segmented/**/*")}
    assert {
        "segmented/photo.overlay.jpg",
        "segmented/photo.labels.png",
        "segmented/photo.geojson",
        "segmented/photo.masks/001.png",
        "segmented/yolo/labels/cat.txt",
        "segmented/yolo/data.yaml",
        "segmented/label_studio.json",
        "segmented/annotations.json",
    } <= wrote


def test_the_python(place: Path) -> None:
    for example in blocks(PAGE, "python"):
        exec(compile(example, str(PAGE), "exec"), {})
    assert (place / "overlay.jpg").is_file()
