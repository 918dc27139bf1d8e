"""Artifacts run where nothing is installed but what their requirements.txt asks for."""

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
from packaging.requirements import Requirement
from PIL import Image

import sam3port
from tests.conftest import clean_environment

PACKAGE = Path(sam3port.__file__).parent
RUN = [*(PACKAGE / "runtime").glob("*.py"), *(PACKAGE / "cli").glob("segment*.py"), PACKAGE / "errors.py"]

CLOSED = '''
"""From here on, of what is installed only these distributions, and what they need, can be imported."""
import importlib.abc, importlib.metadata, re, sys
from packaging.requirements import Requirement

def name(text):
    return re.sub("[-_.]+", "-", text).lower()

allowed, waiting = {"sam3port"}, [line for line in open(sys.argv[1]).read().splitlines() if line and line[0] != "#"]
while waiting:
    requirement = Requirement(waiting.pop())
    if name(requirement.name) in allowed or requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        continue
    allowed.add(name(requirement.name))
    waiting += importlib.metadata.requires(requirement.name) or []
modules = {module: {name(each) for each in distributions}
           for module, distributions in importlib.metadata.packages_distributions().items()}
refused = []

class Closed(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        owners = modules.get(fullname.partition(".")[0])
        if fullname.partition(".")[0] not in sys.stdlib_module_names and (not owners or not owners & allowed):
            if fullname.partition(".")[0] != "sam3port":
                refused.append(fullname)
                raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

sys.meta_path.insert(0, Closed())
for module in ("torch", "torchvision", "sam3", "scipy", "skimage", "matplotlib", "timm"):
    assert module not in sys.modules
    try:
        __import__(module)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{module} is to be had: this proves nothing")
refused.clear()
'''

PYTHON = """
import sam3port, sys
assert "numpy" not in sys.modules and "tvm" not in sys.modules, "importing sam3port is cheap"
model = sam3port.load(sys.argv[2])
image = model.encode_image(sys.argv[3])
result = image.segment(text="ﬁve caf&eacute;s", boxes=[(10, 10, 200, 200)], points=[(5, 5)], threshold=0)
assert len(result) == 20 and len(result.to_coco()) == 20
result.save("result.png")
clicked = image.click(points=[(100, 100)])
clicked.save("clicked.jpg")
image.click(box=(10, 10, 100, 100), mask=clicked.logits[clicked.best], multimask=False).to_coco()
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torch", "torchvision", "sam3", "scipy", "skimage", "matplotlib", "timm", "safetensors"}
print("refused:", *sorted(set(refused)))
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


def closed(code: str, *arguments: str | Path, artifact: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CLOSED + code, str(artifact / "requirements.txt"), *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_from_python(tiny_artifact: Path, photo: Path, tmp_path: Path) -> None:
    ran = closed(PYTHON, tiny_artifact, photo, artifact=tiny_artifact, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert Image.open(tmp_path / "result.png").size == Image.open(tmp_path / "clicked.jpg").size == (512, 512)
    # TVM looks for torch where it is installed, to exchange tensors with it. Nothing of ours asks for anything.
    refused = {name.partition(".")[0] for name in ran.stdout.rpartition("refused:")[2].split()}
    assert "torch" in refused


def test_the_documented_program(tiny_artifact: Path, photo: Path, tmp_path: Path) -> None:
    document = (PACKAGE.parent / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "tiny").symlink_to(tiny_artifact)
    ran = closed(program, artifact=tiny_artifact, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert re.match(r"(\d+) \(\1, 512, 512\) \[", ran.stdout), ran.stdout
    assert (
        Image.open(tmp_path / "overlay.png").size == Image.open(tmp_path / "clicked.png").size == Image.open(photo).size
    )


def test_from_the_command_line(tiny_artifact: Path, photo: Path, tmp_path: Path) -> None:
    code = "from sam3port.cli.main import main; main(sys.argv[2:])"
    given = ("segment", photo, "--artifact", tiny_artifact, "--text", "face", "--threshold", "0.3", "--out", "out")
    ran = closed(code, *given, artifact=tiny_artifact, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]


@pytest.mark.parametrize("file", RUN, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_import_of_the_runtime_is_required(
    file: Path, tiny_artifact: Path, owners: Mapping[str, list[str]]
) -> None:
    """Also the imports within functions, which a run may not come by."""
    lines = (tiny_artifact / "requirements.txt").read_text().splitlines()
    required = {Requirement(line).name.lower() for line in lines if line and not line.startswith("#")}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top == "sam3port":
                continue
            assert {each.lower() for each in owners[top]} & required, f"{file.name} imports {top}"
