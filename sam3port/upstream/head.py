"""Reads the commit of a git checkout by hand: starting git takes longer than all the rest of `locate`."""

from __future__ import annotations

import re
from pathlib import Path

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def git_dir(root: Path) -> Path | None:
    """The git directory of the checkout ``root``, or None if ``root`` is not the top of one.

    ``.git`` is a folder, or in a submodule or a linked worktree a file ``gitdir: PATH``.
    """
    dot_git = root / ".git"
    if dot_git.is_dir():
        return dot_git
    text = _read(dot_git)
    if text is None or not text.startswith("gitdir:"):
        return None
    return root / text.removeprefix("gitdir:").strip()


def head_commit(root: Path) -> str | None:
    """The full id of the commit checked out in ``root``; None if it is no git checkout or has no commit."""
    directory = git_dir(root)
    if directory is None:
        return None
    return _by_hand(directory) or _by_git(root)


def _by_hand(directory: Path) -> str | None:
    # A linked worktree has its own HEAD, and shares the branches with the main one.
    shared = directory
    if (common := _read(directory / "commondir")) is not None:
        shared = directory / common
    value = _read(directory / "HEAD")
    for _ in range(5):  # git's own limit on references to references
        if value is None:
            return None
        if _SHA.fullmatch(value):
            return value
        if not value.startswith("ref:"):
            return None
        name = value.removeprefix("ref:").strip()
        value = _read(directory / name) or _read(shared / name) or _packed(shared, name)
    return None


def _packed(shared: Path, name: str) -> str | None:
    for line in (_read(shared / "packed-refs") or "").splitlines():
        sha, _, reference = line.partition(" ")
        if reference == name:
            return sha
    return None


def _by_git(root: Path) -> str | None:
    """For layouts that the above does not know (git's reftable)."""
    try:
        import git
    except ImportError:  # there is no git program
        return None
    try:
        return str(git.Repo(root).git.rev_parse("--verify", "HEAD"))
    except (git.GitError, OSError, ValueError):
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
