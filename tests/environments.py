"""sam3port's wheel, and environments that hold nothing but it and what it asks for to run artifacts."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import filelock
import pytest

from tests.conftest import clean_environment

ROOT = Path(__file__).resolve().parents[1]


def build_wheel(folder: Path) -> Path:
    """The wheel, built in ``folder`` from a copy of the tracked files: nothing of a working tree slips in."""
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run(pip, check=True, env=clean_environment(), timeout=300)
    (built,) = folder.glob("sam3port-*.whl")
    return built


def make_environment(home: Path, wheel: Path, python: str = sys.executable) -> Path:
    """A virtual environment into which ``pip install WHEEL`` was done.

    Args:
        home: its folder, which does not exist.
        wheel: of sam3port.
        python: the interpreter that it is of; it needs no pip of its own.

    Returns:
        The folder of its programs.
    """
    subprocess.run([python, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    programs = home / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "-q", "--no-compile"]
    options = ["--only-binary=:all:", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, str(wheel)], check=True, env=clean_environment(), timeout=900)
    return programs


@pytest.fixture(scope="session")
def sam3port_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel: one for all tests and workers."""
    folder = _shared(tmp_path_factory) / "wheel"
    with filelock.FileLock(folder.with_suffix(".lock")):
        return next(folder.glob("sam3port-*.whl"), None) or build_wheel(folder)


@pytest.fixture(scope="session")
def runtime_programs(tmp_path_factory: pytest.TempPathFactory, sam3port_wheel: Path) -> Path:
    """The programs of an environment of this interpreter with the wheel alone: one for all tests and workers."""
    home = _shared(tmp_path_factory) / "runtime"
    done = home.with_suffix(".done")
    with filelock.FileLock(home.with_suffix(".lock")):
        if not done.exists():
            done.write_text(str(make_environment(home, sam3port_wheel)), encoding="utf-8")
    return Path(done.read_text(encoding="utf-8"))


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def interpreters() -> dict[tuple[int, ...], str]:
    """CPython's releases that are to be had here, with their programs: on PATH, beside them, and those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    programs = {Path(folder) / f"python3.{minor}" for folder in folders if folder for minor in range(11, 20)}
    programs |= {Path(sys.executable), *pyenv.glob("versions/3.*/bin/python")}
    say = "import sys; print(sys.implementation.name, *sys.version_info[:3], sys.version_info.releaselevel)"
    found = {}
    for program in sorted(programs):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            asked = subprocess.run([str(program), "-c", say], capture_output=True, text=True, timeout=30)
            name, *version, level = asked.stdout.split() or ["none", "alpha"]
            if (asked.returncode, name, level) == (0, "cpython", "final"):
                found[tuple(map(int, version))] = str(program)
    return found


def supported_pythons() -> list[tuple[int, ...]]:
    """What pyproject.toml's classifiers name, oldest first: (3, 11), ..."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = (re.fullmatch(r"Programming Language :: Python :: (3)\.(\d+)", each) for each in project["classifiers"])
    return sorted((int(match[1]), int(match[2])) for match in named if match)
