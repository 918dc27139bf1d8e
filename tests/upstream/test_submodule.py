"""``external/sam3`` is filled by real git, from a repository of this machine that stands for GitHub's."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sam3port.upstream import pin
from tests.upstream.conftest import Project, commit_all, copy_pinned, git
from tests.upstream.test_registry import ENSURE, assert_whole

Change = Callable[[Project], Project]

posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for git is a shell script")

# git fetches a submodule from a path of this machine only if it is told that this is wanted.
ALLOW_FILES = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}


@pytest.fixture
def github(upstream_root: Path, tmp_path: Path) -> Path:
    """Upstream's repository: the pinned files (in a commit of ours: the real one's objects are not to be had)."""
    folder = copy_pinned(upstream_root, tmp_path / "github")
    commit_all(folder)
    git(folder, "config", "uploadpack.allowReachableSHA1InWant", "true")
    return folder


@pytest.fixture
def checkout(project: Project, github: Path, from_wheelhouse: Change) -> Project:
    """A clone of ours, whose submodule is not fetched yet."""
    project = from_wheelhouse(project)
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    (project.folder / ".gitignore").write_text("__pycache__/\n")
    (project.folder / ".gitmodules").write_text(
        f'[submodule "{pin.SUBMODULE}"]\n\tpath = {pin.SUBMODULE}\n\turl = {github.as_uri()}\n'
    )
    git(project.folder, "add", ".")
    entry = f"160000,{git(github, 'rev-parse', 'HEAD')},{pin.SUBMODULE}"
    git(project.folder, "update-index", "--add", "--cacheinfo", entry)
    git(project.folder, "commit", "--quiet", "--message=x")
    project.submodule.mkdir(parents=True)
    return replace(project, environment=project.environment | ALLOW_FILES)


def state(project: Project) -> tuple[str, str, list[str]]:
    """What a fetch that did not succeed must leave as it was."""
    modules = project.folder / ".git" / "modules"
    return (
        git(project.folder, "config", "--local", "--list"),
        git(project.folder, "status", "--porcelain", "--ignore-submodules=none"),
        sorted(str(path) for top in (modules / "external", project.submodule) for path in top.rglob("*")),
    )


def assert_fetched(project: Project) -> None:
    assert project.run("-m", "sam3port", "upstream", "verify").returncode == 0
    assert git(project.submodule, "status", "--porcelain") == ""
    assert git(project.folder, "status", "--porcelain") == ""
    assert not project.cached_copy.exists()


def test_fetched_as_a_submodule(checkout: Project, github: Path) -> None:
    result = checkout.run("-c", ENSURE)
    assert result.returncode == 0, result.stderr
    assert "Origin.SUBMODULE" in result.stdout
    assert git(github, "rev-parse", "HEAD") in result.stdout
    assert_fetched(checkout)
    again = checkout.run("-c", ENSURE)
    assert "said:" not in again.stdout
    assert "Origin.SUBMODULE" in again.stdout


def test_in_a_fresh_clone_and_in_a_linked_worktree(checkout: Project, tmp_path: Path) -> None:
    git(checkout.folder, "clone", "--quiet", ".", str(tmp_path / "clone"))
    git(checkout.folder, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "worktree"))
    for name in ("clone", "worktree"):
        environment = checkout.environment | {"PYTHONPATH": str(tmp_path / name)}
        other = Project(tmp_path / name, tmp_path / f"cache_{name}", environment)
        result = other.run("-c", ENSURE)
        assert "Origin.SUBMODULE" in result.stdout, result
        assert_fetched(other)


def test_several_processes_at_once(checkout: Project) -> None:
    running = [checkout.start("-c", ENSURE) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert all("Origin.SUBMODULE" in output for output in outputs), outputs
    assert_fetched(checkout)


def test_without_github_the_registry_copy_is_used(checkout: Project, github: Path) -> None:
    shutil.move(github, github.with_name("gone"))
    before = state(checkout)
    result = checkout.run("-c", ENSURE)
    assert result.returncode == 0, result.stderr
    assert f"said: the submodule {pin.SUBMODULE} cannot be fetched with git: " in result.stdout
    assert "Origin.CACHE" in result.stdout
    assert state(checkout) == before
    assert_whole(checkout)


@pytest.mark.parametrize("configured", [False, True])
def test_an_update_that_fails_half_way_leaves_nothing(checkout: Project, github: Path, configured: bool) -> None:
    """The repository answers, but does not have the commit."""
    if configured:
        git(checkout.folder, "config", f"submodule.{pin.SUBMODULE}.url", github.as_uri())
    (github / "more").touch()
    commit = commit_all(github)
    git(checkout.folder, "update-index", "--cacheinfo", f"160000,{commit[::-1]},{pin.SUBMODULE}")
    git(checkout.folder, "commit", "--quiet", "--message=x")
    before = state(checkout)
    result = checkout.run("-c", ENSURE)
    assert result.returncode == 0, result.stderr
    assert "cannot be fetched with git" in result.stdout
    assert "Origin.CACHE" in result.stdout
    assert state(checkout) == before


def test_a_mirror_that_the_user_has_configured_is_used_and_kept(checkout: Project, github: Path) -> None:
    mirror = github.rename(github.with_name("mirror"))
    name = f"submodule.{pin.SUBMODULE}.url"
    git(checkout.folder, "config", name, (github.with_name("nowhere")).as_uri())
    assert "Origin.CACHE" in checkout.run("-c", ENSURE).stdout
    assert git(checkout.folder, "config", name).endswith("/nowhere")
    shutil.rmtree(checkout.cached_copy)
    git(checkout.folder, "config", name, mirror.as_uri())
    assert "Origin.SUBMODULE" in checkout.run("-c", ENSURE).stdout
    assert_fetched(checkout)


def test_what_the_user_keeps_in_the_folder_is_not_touched(checkout: Project) -> None:
    (checkout.submodule / "notes.txt").write_text("mine")
    assert "Origin.CACHE" in checkout.run("-c", ENSURE).stdout
    assert [file.name for file in checkout.submodule.iterdir()] == ["notes.txt"]


def test_inside_a_git_hook_git_is_left_alone(checkout: Project, github: Path) -> None:
    result = checkout.run("-c", ENSURE, GIT_DIR=str(github / ".git"))
    assert "Origin.CACHE" in result.stdout, result
    assert list(checkout.submodule.iterdir()) == []


def test_without_a_git_program(checkout: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = checkout.run("-c", ENSURE, PATH=str(tmp_path / "empty"))
    assert result.returncode == 0, result.stderr
    assert "cannot be fetched with git" in result.stdout
    assert "Origin.CACHE" in result.stdout


def stand_in_for_git(folder: Path, script: str) -> str:
    """A PATH on which ``git`` is ``script``; in it, $GIT is the real one."""
    real = shutil.which("git")
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\nGIT={real}\n{script}\n")
    (folder / "git").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@posix
def test_killed_half_way_the_rest_is_never_used_and_the_next_fetch_starts_again(
    checkout: Project, tmp_path: Path
) -> None:
    """Killed with -9 after git has filled half of the folder."""
    path = stand_in_for_git(
        tmp_path / "bin",
        'if [ "$1" = submodule ]; then "$GIT" "$@"; rm -r external/sam3/sam3/model external/sam3/LICENSE; '
        'touch .git/modules/external/sam3/index.lock; kill -9 $PPID; exit 1; fi; exec "$GIT" "$@"',
    )
    killed = checkout.run("-c", ENSURE, PATH=path)
    assert killed.returncode == -signal.SIGKILL
    assert (checkout.submodule / "sam3" / "__init__.py").exists()
    assert not (checkout.submodule / "LICENSE").exists()

    status = checkout.run("-m", "sam3port", "upstream", "status", "--json")
    assert '"present": false' in status.stdout, status
    result = checkout.run("-c", ENSURE)
    assert "Origin.SUBMODULE" in result.stdout, result
    assert_fetched(checkout)


@posix
def test_interrupted_it_leaves_nothing(checkout: Project, tmp_path: Path) -> None:
    path = stand_in_for_git(
        tmp_path / "bin",
        'if [ "$1" = submodule ]; then "$GIT" "$@"; kill -INT $PPID; sleep 60; fi; exec "$GIT" "$@"',
    )
    before = state(checkout)
    result = checkout.run("-c", ENSURE, PATH=path)
    assert "KeyboardInterrupt" in result.stderr
    assert state(checkout) == before
    assert not (checkout.folder / ".git" / "sam3port-fetching").exists()


@posix
def test_a_git_that_hangs_is_ended_with_its_children(checkout: Project, tmp_path: Path) -> None:
    """As where a firewall swallows what goes to GitHub."""
    path = stand_in_for_git(tmp_path / "bin", 'if [ "$1" = ls-remote ]; then sleep 61.375; fi; exec "$GIT" "$@"')
    code = "from sam3port.upstream import submodule\nsubmodule._PROBE_TIME_LIMIT = 0.5\n"
    started = time.monotonic()
    result = checkout.run("-c", code + ENSURE, PATH=path)
    sys.stdout.write(f"given up after {time.monotonic() - started:.1f} s\n")
    assert time.monotonic() - started < 55
    assert "`git ls-remote` took over" in result.stdout, result
    assert not [process for process in psutil.process_iter(["cmdline"]) if "61.375" in (process.info["cmdline"] or [])]
    assert "Origin.CACHE" in result.stdout
