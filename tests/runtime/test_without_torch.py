"""Artifacts run where nothing is installed but sam3port's wheel and what it asks for."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

import sam3port
from sam3port.machine import packages
from tests.conftest import clean_environment
from tests.environments import runtime_programs, sam3port_wheel

__all__ = ["runtime_programs", "sam3port_wheel"]

PACKAGE = Path(sam3port.__file__).parent
RUN = [*(PACKAGE / "runtime").glob("*.py"), *(PACKAGE / "cli").glob("segment*.py"), PACKAGE / "errors.py"]

PYTHON = """
import sam3port, sys
assert "numpy" not in sys.modules and "tvm" not in sys.modules, "importing sam3port is cheap"
model = sam3port.load(sys.argv[1])
image = model.encode_image(sys.argv[2])
result = image.segment(text="ﬁve caf&eacute;s", boxes=[(10, 10, 200, 200)], points=[(5, 5)], threshold=0)
assert len(result) == 20 and len(result.to_coco()) == 20
result.save("result.png")
clicked = image.click(points=[(100, 100)])
clicked.save("clicked.jpg")
image.click(box=(10, 10, 100, 100), mask=clicked.logits[clicked.best], multimask=False).to_coco()
"""


@pytest.fixture(scope="module")
def owners() -> Mapping[str, list[str]]:
    """The distributions that a module belongs to."""
    return packages_distributions()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    Image.fromarray(skimage.data.astronaut()).save(file)
    return file


def run(programs: Path, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program of the environment."""
    return subprocess.run(
        [str(programs / command[0]), *map(str, command[1:])],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_nothing_else_is_installed(runtime_programs: Path, tmp_path: Path) -> None:
    """What other tests show would mean nothing else."""
    names = ["torch", "torchvision", "sam3", "scipy", "skimage", "matplotlib", "timm", "safetensors", "git", "einops"]
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert run(runtime_programs, "python", "-c", code, cwd=tmp_path).stdout.split() == ["[]"]


def test_from_python(runtime_programs: Path, tiny_artifact: Path, photo: Path, tmp_path: Path) -> None:
    ran = run(runtime_programs, "python", "-c", PYTHON, tiny_artifact, photo, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert Image.open(tmp_path / "result.png").size == Image.open(tmp_path / "clicked.jpg").size == (512, 512)


def test_the_documented_program(runtime_programs: Path, tiny_artifact: Path, photo: Path, tmp_path: Path) -> None:
    document = (PACKAGE.parent / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "tiny").symlink_to(tiny_artifact)
    ran = run(runtime_programs, "python", "-c", program, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert re.match(r"(\d+) \(\1, 512, 512\) \[", ran.stdout), ran.stdout
    assert (
        Image.open(tmp_path / "overlay.png").size == Image.open(tmp_path / "clicked.png").size == Image.open(photo).size
    )


def test_from_the_command_line(runtime_programs: Path, tiny_artifact: Path, photo: Path, tmp_path: Path) -> None:
    given = ("segment", photo, "--artifact", tiny_artifact, "--text", "face", "--threshold", "0.3", "--out", "out")
    ran = run(runtime_programs, "sam3port", *given, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]


def test_the_artifacts_requirements_are_met_there(runtime_programs: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    """By the file's own first line, and without an index: everything is there once sam3port is."""
    said = (tiny_artifact / "requirements.txt").read_text(encoding="utf-8")
    assert "pip install -r requirements.txt" in said.splitlines()[0]
    pip = [sys.executable, "-m", "pip", "--python", str(runtime_programs / "python"), "install", "--no-index"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "-r", str(tiny_artifact / "requirements.txt")],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "already satisfied: sam3port==" in done.stdout
    assert "Installing" not in done.stdout


@pytest.mark.parametrize("file", RUN, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_import_of_the_runtime_is_asked_for(file: Path, owners: Mapping[str, list[str]]) -> None:
    """Also the imports within functions, which a run may not come by. What the extra ``heic`` brings may be absent."""
    required = {asked.name for asked in packages.requirements()} | {"pillow-heif"}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top == "sam3port":
                continue
            assert {re.sub("[-_.]+", "-", each).lower() for each in owners[top]} & required, (
                f"{file.name} imports {top}"
            )
