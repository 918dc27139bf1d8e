"""The commit of a checkout is read without git, from every layout that git makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sam3port.upstream import head
from tests.upstream.conftest import commit_all, git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "file").write_text("1")
    commit_all(folder)
    return folder


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading by hand must do: asking git is a failure."""

    def refuse(root: Path) -> str:
        raise AssertionError(f"git was asked about {root}")

    monkeypatch.setattr(head, "_by_git", refuse)


@pytest.mark.usefixtures("by_hand")
def test_a_branch(repository: Path) -> None:
    assert head.head_commit(repository) == git(repository, "rev-parse", "HEAD")


@pytest.mark.usefixtures("by_hand")
def test_a_branch_with_slashes(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "a/b/c")
    commit = commit_all(repository)
    assert head.head_commit(repository) == commit


@pytest.mark.usefixtures("by_hand")
def test_a_detached_head(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    assert commit_all(repository) != first
    git(repository, "checkout", "--quiet", "--detach", first)
    assert head.head_commit(repository) == first


@pytest.mark.usefixtures("by_hand")
def test_packed_references(repository: Path) -> None:
    git(repository, "tag", "--annotate", "--message=x", "main-2")
    git(repository, "branch", "main-3")
    git(repository, "pack-refs", "--all", "--prune")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert head.head_commit(repository) == git(repository, "rev-parse", "HEAD")


@pytest.mark.usefixtures("by_hand")
def test_a_loose_reference_is_newer_than_a_packed_one(repository: Path) -> None:
    git(repository, "pack-refs", "--all", "--prune")
    commit = commit_all(repository)
    assert head.head_commit(repository) == commit


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("packed", [False, True])
def test_a_linked_worktree(repository: Path, tmp_path: Path, packed: bool) -> None:
    worktree = tmp_path / "worktree"
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(worktree))
    commit = commit_all(worktree)
    assert commit != git(repository, "rev-parse", "HEAD")
    if packed:
        git(repository, "pack-refs", "--all", "--prune")
    assert (worktree / ".git").is_file()
    assert head.head_commit(worktree) == commit


@pytest.mark.usefixtures("by_hand")
def test_a_submodule(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    commit_all(outer)
    git(outer, "submodule", "--quiet", "add", str(repository), "inner/one")
    assert (outer / "inner" / "one" / ".git").is_file()
    assert head.head_commit(outer / "inner" / "one") == git(repository, "rev-parse", "HEAD")


@pytest.mark.usefixtures("by_hand")
def test_a_plain_folder(tmp_path: Path) -> None:
    assert head.head_commit(tmp_path) is None


@pytest.mark.usefixtures("by_hand")
def test_a_folder_inside_a_checkout_is_not_one_itself(repository: Path) -> None:
    (repository / "inside").mkdir()
    assert head.head_commit(repository / "inside") is None


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert head.head_commit(tmp_path) is None


def test_asking_git(repository: Path) -> None:
    assert head._by_git(repository) == git(repository, "rev-parse", "HEAD")


def test_rubbish(tmp_path: Path) -> None:
    (tmp_path / ".git").write_bytes(b"\xff\xfe")
    assert head.head_commit(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert head.head_commit(tmp_path) is None


def test_references_in_a_circle(repository: Path) -> None:
    (repository / ".git" / "refs" / "heads" / "main").write_text("ref: refs/heads/main\n")
    assert head.head_commit(repository) is None


def test_reftable(tmp_path: Path) -> None:
    try:
        git(tmp_path, "init", "--quiet", "--ref-format=reftable")
    except subprocess.CalledProcessError:
        pytest.skip("this git has no reftable")
    commit = commit_all(tmp_path)
    assert head.head_commit(tmp_path) == commit
