"""``python -m sam3port``: what lies in the working folder is not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import clean_environment
from tests.hostile import hostile_folder, imported


def module(*arguments: str, cwd: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "sam3port", *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_among_strange_files(tmp_path: Path) -> None:
    """Except for a package that is called sam3port: Python imports that before anybody can say no."""
    here = hostile_folder(tmp_path, leave_out=["sam3port/__init__"])
    ran = module("patches", cwd=here)
    assert ran.returncode == 0, ran.stderr
    assert "float_rope" in ran.stdout
    assert imported(here) == []


def checkout(folder: Path) -> Path:
    """The start of a package sam3port, which is not what is installed and has no sam3port.patches."""
    ours = Path(__file__).parents[1] / "sam3port"
    (folder / "sam3port").mkdir()
    for name in ("__init__.py", "__main__.py"):
        (folder / "sam3port" / name).write_bytes((ours / name).read_bytes())
    return folder


def test_in_a_checkout_that_is_not_what_is_installed(tmp_path: Path) -> None:
    """As after `pip install .`."""
    ran = module("patches", cwd=checkout(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert "float_rope" in ran.stdout


def test_in_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True, timeout=120)
    python = str(tmp_path / "v" / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    ran = module("patches", cwd=checkout(tmp_path), python=python)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0].startswith("sam3port: it is not installed in this Python")
    assert "Traceback" not in ran.stderr
