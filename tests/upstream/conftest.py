"""Copies of the pinned source to damage, real git repositories, and copies of our own package to run."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sam3port.upstream import manifest, pin

Environment = dict[str, str]


def copy_pinned(source: Path, destination: Path) -> Path:
    """Copy the files of the manifest, and nothing else."""
    for path in manifest.blobs():
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target)
    return destination


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, without the settings of whoever runs the tests."""
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity |= {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
    identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # As a fresh folder below a repository would: an absent .git must not make git act on a repository above.
    inherited["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    return subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env=inherited | identity,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()


def commit_all(folder: Path) -> str:
    """Make ``folder`` a git checkout if it is none, commit everything, and return the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "core.autocrlf", "false")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def tree(upstream_root: Path, tmp_path: Path) -> Path:
    """A copy of the pinned source that may be damaged."""
    return copy_pinned(upstream_root, tmp_path / "tree")


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for this process too."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("SAM3PORT_CACHE", str(cache))
    monkeypatch.delenv("SAM3PORT_UPSTREAM", raising=False)
    return cache


@dataclass(frozen=True)
class Project:
    """A copy of our package in a folder of its own: nothing that runs here can touch the real checkout."""

    folder: Path
    cache: Path
    environment: Environment

    @property
    def submodule(self) -> Path:
        return self.folder / pin.SUBMODULE

    @property
    def cached_copy(self) -> Path:
        return self.cache / "upstream" / pin.COMMIT

    def leftovers(self) -> list[Path]:
        """Temporary folders of fetches."""
        return list((self.cache / "upstream").glob(".fetch-*"))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Our package as after a plain download: no git, no source, an empty cache."""
    folder = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("sam3port", "sam3port.patches"):  # the second lies elsewhere in our repository
        (source,) = importlib.import_module(package).__path__
        shutil.copytree(source, folder / package.replace(".", "/"), ignore=ignore, dirs_exist_ok=True)
    cache = tmp_path / "cache"
    dropped = ("SAM3PORT_", "GIT_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {"PYTHONPATH": str(folder), "SAM3PORT_CACHE": str(cache), "GIT_CONFIG_GLOBAL": os.devnull}
    return Project(folder, cache, environment)


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two wheels, from the package index, once for all tests."""
    from sam3port.upstream import registry

    folder = tmp_path_factory.mktemp("wheelhouse")
    registry._download([wheel.requirement for wheel in pin.WHEELS], folder)
    return folder


def _without_pip_settings(environment: Environment) -> Environment:
    kept = {name: value for name, value in environment.items() if not name.startswith("PIP_")}
    return kept | {"PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def from_wheelhouse(wheelhouse: Path) -> Callable[[Project], Project]:
    """A project whose package index is the wheelhouse."""

    def change(project: Project) -> Project:
        environment = _without_pip_settings(project.environment)
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)}
        return Project(project.folder, project.cache, environment)

    return change


@pytest.fixture
def without_network() -> Callable[[Project], Project]:
    """A project whose package index is a port of this machine that nobody listens on."""

    def change(project: Project) -> Project:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = _without_pip_settings(project.environment)
        environment |= {"PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple"}
        return Project(project.folder, project.cache, environment)

    return change
