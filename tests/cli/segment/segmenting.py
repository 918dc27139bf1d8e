"""``sam3port segment`` in this process, and photographs to give it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

from sam3port.cli.main import main

ROTATED = 6
"""EXIF: turn by 90 degrees clockwise to show it."""


@dataclass(frozen=True)
class Ended:
    """What a run of the program left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.out)
        return content


Segment = Callable[..., Ended]


@pytest.fixture
def segment(tiny_artifact: Path, capsys: pytest.CaptureFixture[str]) -> Segment:
    """``segment(*words)`` adds --artifact unless it is given, runs the program and returns `Ended`."""

    def run(*words: str | Path) -> Ended:
        given = [] if "--artifact" in words else ["--artifact", str(tiny_artifact)]
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["segment", *map(str, words), *given])
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in said.err
        return Ended(ended.value.code, said.out, said.err)

    return run


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder: astronaut.png 512 x 512, cat.jpg 300 x 451 after its EXIF orientation, grey.png 512 x 512."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(skimage.data.astronaut()).save(folder / "astronaut.png")
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    Image.fromarray(skimage.data.chelsea()).save(folder / "cat.jpg", exif=exif)
    Image.fromarray(skimage.data.camera()).save(folder / "grey.png")
    return folder


def whole_files(folder: Path) -> set[str]:
    """The files in a run's folder but those aside, each of which is read to its end."""
    names = set()
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() or name.startswith("."):
            continue
        if file.suffix == ".json":
            json.loads(file.read_bytes())
        else:
            with Image.open(file) as image:
                image.load()
        names.add(name)
    return names
