"""The wheel holds everything, and works where the checkout is not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import clean_environment

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files: nothing of a working tree slips in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)],
        check=True,
        env=clean_environment(),
        timeout=300,
    )
    (built,) = folder.glob("sam3port-*.whl")
    return built


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = wheel.parent / "source"
    ours = {f.relative_to(source).as_posix() for f in (source / "sam3port").rglob("*.py")}
    patches = {f"sam3port/patches/{f.name}" for f in (source / "patches").glob("*.py")}
    assert len(ours) > 20 and len(patches) > 5
    assert ours | patches <= names, sorted((ours | patches) - names)
    assert {"sam3port/py.typed", "sam3port/upstream/manifest.txt"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sam3port"}
    licences = {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_installed_wheel_runs(wheel: Path, tmp_path: Path, upstream_root: Path) -> None:
    assert upstream_root.is_dir()
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel)],
        check=True,
        timeout=120,
    )
    code = (
        "import sam3port, sam3port.patches; from sam3port.cli.main import main;"
        f" assert sam3port.__file__.startswith({str(target)!r}), sam3port.__file__;"
        f" assert sam3port.patches.__file__.startswith({str(target)!r}), sam3port.patches.__file__;"
        " main(['patches'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(target), SAM3PORT_UPSTREAM=str(upstream_root)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "float_rope" in ran.stdout
