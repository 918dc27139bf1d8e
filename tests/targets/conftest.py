"""The components of the tiny model, built once for the GPU target of this run, by the command that a user calls."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import filelock
import pytest

from sam3port.plugins import load_plugins
from sam3port.upstream.source import Upstream
from tests.cli.conftest import call


@pytest.fixture(scope="session")
def built_for_gpu(target: str, upstream_source: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each component. One for all of xdist's workers. No device is needed for it."""
    assert upstream_source.pinned
    if target == "cuda" and shutil.which("nvcc") is None:
        pytest.skip("the target cuda is compiled by nvcc, and it is not installed")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"built_for_{target}"
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            folder.mkdir()
            names = load_plugins().components()
            done = call("build", *names, "--target", target, "--out", str(folder), cwd=base, timeout=1200)
            folder.joinpath("said.txt").write_text(done.stderr, encoding="utf-8")
            folder.joinpath("status.txt").write_text(str(done.returncode), encoding="utf-8")
    assert folder.joinpath("status.txt").read_text() == "0", folder.joinpath("said.txt").read_text()
    return folder
