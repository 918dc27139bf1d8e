"""``sam3port upstream``, run as a program, on a copy of our package with a cache of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3port.upstream import manifest, pin
from tests.upstream.conftest import (
    Project,
    commit_all,
    copy_pinned,
    from_wheelhouse,
    project,
    tree,
    wheelhouse,
    without_network,
)

__all__ = ["from_wheelhouse", "project", "tree", "wheelhouse", "without_network"]  # fixtures

DECODER = "sam3/model/decoder.py"
UPSTREAM = ("-m", "sam3port", "upstream")


@pytest.fixture
def filled(project: Project, upstream_root: Path) -> Project:
    """A project with a good copy in its cache."""
    copy_pinned(upstream_root, project.cached_copy)
    return project


def test_status_without_source(project: Project) -> None:
    result = project.run(*UPSTREAM, "status")
    assert result.returncode == 0
    assert "is not on this machine" in result.stdout
    assert "-> `sam3port upstream fetch`" in result.stdout
    result = project.run(*UPSTREAM, "status", "--json")
    pinned = {"commit": pin.COMMIT, "repository": pin.REPOSITORY_URL}
    assert json.loads(result.stdout) == {"present": False, "pin": pinned}
    assert not project.cache.exists()


def test_verify_without_source(project: Project) -> None:
    result = project.run(*UPSTREAM, "verify")
    assert result.returncode == 1
    assert "is not on this machine" in result.stderr


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_good_copy(filled: Project, command: str) -> None:
    result = filled.run(*UPSTREAM, command)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"all {len(manifest.blobs())} files are as pinned" in result.stdout
    assert str(filled.cached_copy) in result.stdout
    told = json.loads(filled.run(*UPSTREAM, command, "--json").stdout)
    assert told == {
        "present": True,
        "pin": {"commit": pin.COMMIT, "repository": pin.REPOSITORY_URL},
        "root": str(filled.cached_copy),
        "origin": "cache",
        "commit": pin.COMMIT,
        "pinned": True,
        "ok": True,
        "changed": [],
        "missing": [],
        "extra": [],
    }


def damage(root: Path) -> None:
    (root / DECODER).write_bytes((root / DECODER).read_bytes().replace(b"self", b"sElf", 1))
    (root / "LICENSE").unlink()
    (root / "sam3" / "new.py").touch()


def test_verify_names_every_file(filled: Project) -> None:
    damage(filled.cached_copy)
    result = filled.run(*UPSTREAM, "verify")
    assert result.returncode == 1
    assert f"changed: {DECODER}; missing: LICENSE; extra: sam3/new.py" in result.stderr
    assert "-> `sam3port upstream fetch`" in result.stderr
    assert "Traceback" not in result.stderr

    result = filled.run(*UPSTREAM, "verify", "--json")
    told = json.loads(result.stdout)
    assert result.returncode == 1
    assert (told["ok"], told["changed"], told["missing"], told["extra"]) == (
        False, [DECODER], ["LICENSE"], ["sam3/new.py"],
    )  # fmt: skip

    status = filled.run(*UPSTREAM, "status")
    assert status.returncode == 0
    assert "not as pinned" in status.stdout
    assert DECODER in status.stdout


@pytest.mark.parametrize("by_variable", [False, True])
def test_another_commit_of_the_users_is_said_aloud(filled: Project, tree: Path, by_variable: bool) -> None:
    damage(tree)
    commit = commit_all(tree)
    for command in ("status", "verify", "fetch"):
        if by_variable:
            result = filled.run(*UPSTREAM, command, SAM3PORT_UPSTREAM=str(tree))
        else:
            result = filled.run(*UPSTREAM, command, "--upstream", str(tree))
        assert result.returncode == 0
        assert f"note: sam3 at commit {commit}, NOT the pinned {pin.SHORT}" in result.stderr
    result = filled.run(*UPSTREAM, "verify", "--json", "--upstream", str(tree))
    told = json.loads(result.stdout)
    assert (result.returncode, told["ok"], told["pinned"], told["commit"]) == (0, True, False, commit)
    assert (told["changed"], told["missing"], told["extra"]) == ([DECODER], ["LICENSE"], ["sam3/new.py"])


def test_a_damaged_copy_of_the_users_is_refused_and_left_as_it_is(filled: Project, tree: Path) -> None:
    damage(tree)
    for command in ("verify", "fetch"):
        result = filled.run(*UPSTREAM, command, "--upstream", str(tree))
        assert result.returncode == 1
        assert f"changed: {DECODER}" in result.stderr
    assert (tree / "sam3" / "new.py").exists()
    assert not (tree / "LICENSE").exists()


def test_a_place_without_source(project: Project, tmp_path: Path) -> None:
    for command in ("status", "verify", "fetch"):
        result = project.run(*UPSTREAM, command, "--upstream", str(tmp_path / "nowhere"))
        assert result.returncode == 1
        assert "(from --upstream) does not exist" in result.stderr


def test_fetch(project: Project, from_wheelhouse: Callable[[Project], Project]) -> None:
    project = from_wheelhouse(project)
    result = project.run(*UPSTREAM, "fetch")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"sam3 {pin.SHORT} (pinned), the copy in the cache {project.cached_copy}"
    assert "fetching sam3" in result.stderr
    again = project.run(*UPSTREAM, "fetch")
    assert (again.returncode, again.stdout, again.stderr) == (0, result.stdout, "")


def test_fetch_without_network(project: Project, without_network: Callable[[Project], Project]) -> None:
    result = without_network(project).run(*UPSTREAM, "fetch")
    assert result.returncode == 1
    assert "sam3port: sam3 cannot be fetched from the package index" in result.stderr
    assert "  -> check the network" in result.stderr
    assert "Traceback" not in result.stderr
