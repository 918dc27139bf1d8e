"""The program as a user calls it, and environments of its own to change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3port.upstream.source import Upstream
from tests.conftest import clean_environment

Completed = subprocess.CompletedProcess[str]
Program = Callable[..., Completed]


def call(*arguments: str, python: str = sys.executable, cwd: Path, timeout: float = 300, **env: str) -> Completed:
    """Runs ``python -m sam3port ARGUMENTS``."""
    return subprocess.run(
        [python, "-m", "sam3port", *arguments],
        cwd=cwd,
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture
def sam3port(upstream_source: Upstream, tmp_path: Path) -> Program:
    """``sam3port(*arguments, **environment)`` in an empty folder."""
    assert upstream_source.pinned

    def run(*arguments: str, cwd: Path = tmp_path, timeout: float = 300, **env: str) -> Completed:
        return call(*arguments, cwd=cwd, timeout=timeout, **env)

    return run


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The interpreter of a virtual environment of its own that sees what is installed here, but can be changed."""
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    here = [path for path in sys.path if path.endswith("site-packages")]
    asked = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True,
        capture_output=True,
        text=True,
    )
    # addsitedir, not a plain path: an editable install of sam3port is itself a .pth file there.
    line = "import site; " + "; ".join(f"site.addsitedir({path!r})" for path in here)
    Path(asked.stdout.strip(), "what_is_installed_here.pth").write_text(line + "\n", encoding="utf-8")
    return python
