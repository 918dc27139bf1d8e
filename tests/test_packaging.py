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


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `sam3port` of an environment in which the wheel is installed, beside all that is installed here."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    programs = home / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(programs / "python"),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, str(wheel)], check=True, timeout=120)
    (site,) = {file.parents[1] for file in home.rglob("sam3port/__init__.py")}
    # Plain folders, whose own .pth files do not count: one of them is the editable install of this checkout.
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "what_is_installed_here.pth").write_text("\n".join(here) + "\n", encoding="utf-8")
    return programs / "sam3port"


def test_the_installed_wheel_runs_in_a_checkout(
    program: Path, wheel: Path, tmp_path: Path, upstream_root: Path
) -> None:
    """Its children as well, though a package sam3port lies in the working folder, which has no sam3port.patches."""
    checkout = wheel.parent / "source"
    assert (checkout / "sam3port").is_dir() and not (checkout / "sam3port" / "patches").exists()
    out = tmp_path / "out"
    for words in (["patches"], ["apply-patches"], ["build", "scoring_head", "--preset", "tiny", "--out", str(out)]):
        ran = subprocess.run(
            [program, *words],
            cwd=checkout,
            env=clean_environment(SAM3PORT_UPSTREAM=str(upstream_root)),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ran.returncode == 0, ran.stderr
    assert (out / "scoring_head").is_dir()
