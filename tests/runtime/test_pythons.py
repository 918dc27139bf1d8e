"""The runtime on the oldest and the newest Python that pyproject.toml names gives the bits that it gives here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.conftest import clean_environment
from tests.environments import ROOT, interpreters, make_environment, sam3port_wheel, supported_pythons

__all__ = ["sam3port_wheel"]

ANSWERS = """
import sys
import numpy as np
import sam3port

artifact, photograph, out = sys.argv[1:]
image = sam3port.load(artifact, threads=1).encode_image(photograph)
found = image.segment(text="ﬁve caf&eacute;s", boxes=[(10, 10, 200, 200)], threshold=0)
assert len(found.to_coco()) == len(found) == 20
clicked = image.click(points=[(100, 100), (300, 200)], point_labels=[True, False])
np.savez(
    out, masks=found.masks, boxes=found.boxes, scores=found.scores,
    clicked=clicked.masks, logits=clicked.logits, quality=clicked.scores,
)
"""

OBJECT_CODE = """
import sys
from pathlib import Path
from sam3port.compiler import compiled_for
from sam3port.build import library
from sam3port.build.components import default_store, prepare
from sam3port.compiler.entries import linked_components
from sam3port.build.progress import Silent
from sam3port.build.request import BuildRequest
from sam3port.build.results import Results
from sam3port.compiler.stage import Stage
from sam3port.tuning.sources import usual_schedules

request = BuildRequest(linked_components(), until=Stage.KERNELS, tuned=usual_schedules())
plan, keys = prepare(request, Silent())
store = default_store()
results = Results(request, plan, keys, None, store)
results.look()
kernels = {name: results.folder(name, Stage.KERNELS) for name in keys}
compiled_for.place = lambda triple: ("another", "machine")  # so that what is for this one is object code
library.make_library(request, kernels, store, Path(sys.argv[1]))
"""


@pytest.fixture(scope="module", params=["oldest", "newest"])
def other_python(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sam3port_wheel: Path
) -> Path:
    """The program of another Python, in an environment that holds the wheel and what it asks for."""
    supported, there = supported_pythons(), interpreters()
    fitting = sorted(version for version in there if version[:2] in supported)
    chosen = fitting[0] if request.param == "oldest" else fitting[-1]
    required = os.environ.get("SAM3PORT_REQUIRE_PYTHONS") == "1" and request.param == "oldest"
    if request.param == "oldest" and chosen[:2] != supported[0]:
        reason = f"no Python {'.'.join(map(str, supported[0]))} is here"
        pytest.fail(f"{reason}, and SAM3PORT_REQUIRE_PYTHONS=1 asks for it") if required else pytest.skip(reason)
    if chosen == sys.version_info[:3]:
        reason = f"the {request.param} Python here is the one that runs the tests"
        if not (required and supported[0] == sys.version_info[:2]):
            pytest.skip(reason)
    home = tmp_path_factory.mktemp(f"python{'.'.join(map(str, chosen))}") / "environment"
    return make_environment(home, sam3port_wheel, there[chosen]) / "python"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photograph") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(file)
    return file


@pytest.fixture(scope="module")
def object_code(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny artifact as a build for another machine leaves it: with object code, to be linked where it is opened."""
    folder = tmp_path_factory.mktemp("object_code") / "artifact"
    shutil.copytree(tiny_artifact, folder)
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    made = subprocess.run(
        [sys.executable, "-c", OBJECT_CODE, str(folder)],
        cwd=folder.parent,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert made.returncode == 0, made.stderr
    for name in ("model.so", "machine.json"):
        (folder / name).unlink()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["files"]["model.so"]
    code = (folder / "model.tar").read_bytes()
    manifest["library"] = "model.tar"
    manifest["files"]["model.tar"] = {"sha256": hashlib.sha256(code).hexdigest(), "bytes": len(code)}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def own_answers() -> dict[str, dict[str, np.ndarray]]:
    """By kind of artifact, what this Python found."""
    return {}


def answers(python: Path, artifact: Path, photograph: Path, folder: Path) -> dict[str, np.ndarray]:
    """What that Python finds, its cache in ``folder``, so that it links and hashes by itself."""
    folder.mkdir()
    ran = subprocess.run(
        [str(python), "-c", ANSWERS, artifact, photograph, "answers.npz"],
        cwd=folder,
        env=clean_environment(SAM3PORT_CACHE=str(folder / "cache")),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(np.load(folder / "answers.npz"))


@pytest.mark.parametrize("kind", ["tiny_artifact", "object_code"])
def test_it_answers_bit_for_bit_as_this_one(
    other_python: Path,
    kind: str,
    photograph: Path,
    own_answers: dict[str, dict[str, np.ndarray]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    artifact: Path = request.getfixturevalue(kind)
    theirs = answers(other_python, artifact, photograph, tmp_path / "theirs")
    if kind not in own_answers:
        own_answers[kind] = answers(Path(sys.executable), artifact, photograph, tmp_path / "ours")
    ours = own_answers[kind]
    assert theirs.keys() == ours.keys()
    for name, found in ours.items():
        np.testing.assert_array_equal(theirs[name], found, err_msg=name, strict=True)
    linked = list((tmp_path / "theirs" / "cache").glob("artifacts/*.so"))
    assert len(linked) == (kind == "object_code")


def test_the_program_runs(other_python: Path, tiny_artifact: Path, photograph: Path, tmp_path: Path) -> None:
    program = str(other_python.with_name("sam3port"))
    given = [
        "segment",
        str(photograph),
        "--artifact",
        str(tiny_artifact),
        "--text",
        "face",
        "--threshold",
        "0",
        "--json",
    ]
    for arguments in (given, ["patches"], ["doctor"]):
        ran = subprocess.run(
            [program, *arguments], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, ran.stderr + ran.stdout


def test_the_classifiers_begin_with_what_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={'.'.join(map(str, supported_pythons()[0]))}"
