"""The lab, the real upstream as a user's checkout, and upstream's real later releases."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.patching.lab import Lab, make_lab
from tests.upstream.conftest import commit_all, copy_pinned


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A tiny upstream with a plugin that patches it; for code that runs in processes of its own."""
    return make_lab(tmp_path)


@pytest.fixture
def checkout(upstream_root: Path, tmp_path: Path) -> Path:
    """The real upstream, to be changed and then committed: a user's checkout of another commit."""
    return copy_pinned(upstream_root, tmp_path / "checkout")


@pytest.fixture(scope="session")
def later_releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Upstream's releases after the pin, from the package index, each as a user's checkout."""
    releases = {}
    for version in ("0.1.3", "0.1.4"):
        folder = tmp_path_factory.mktemp(f"sam3_{version}")
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*download, "--dest", str(folder), f"sam3=={version}"], check=True, timeout=300)
        (wheel,) = folder.glob("sam3-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "checkout")
        commit_all(folder / "checkout")
        releases[version] = folder / "checkout"
    return releases
