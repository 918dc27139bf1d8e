"""Finds upstream's source: the user's checkout, else the submodule, else the copy in the user's cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sam3port.errors import UpstreamError
from sam3port.upstream import head, manifest, pin, places, submodule

UNKNOWN: Final = "unknown"


class UpstreamAbsent(UpstreamError):
    """Nobody named a place, and neither the submodule nor the cache holds the source: it can be fetched."""


class Origin(StrEnum):
    USER = "user"
    SUBMODULE = "submodule"
    CACHE = "cache"


@dataclass(frozen=True)
class Upstream:
    """Upstream's source tree on this machine."""

    root: Path
    """Contains ``sam3/``, ``assets/`` and ``LICENSE``."""
    origin: Origin
    commit: str
    """The full id of the commit, or "unknown" where there is no git checkout to ask."""
    pinned: bool
    """Whether every file must be the pinned one. False only for a user's checkout of another commit."""

    def check(self, relative: str, data: bytes) -> None:
        """Raise UpstreamError unless ``data`` is what the pin says ``relative`` (posix, from ``root``) holds.

        CRLF line ends are accepted. Nothing is checked when the source is not pinned: there, each patch checks
        what it edits.
        """
        if not self.pinned:
            return
        if relative not in manifest.blobs():
            problem = f"{relative} in {self.root} is not a file of sam3 as pinned ({pin.SHORT})"
            raise UpstreamError(problem, self.remedy)
        if not manifest.matches(relative, data):
            raise UpstreamError(f"{relative} in {self.root} was changed: not as pinned ({pin.SHORT})", self.remedy)

    @property
    def remedy(self) -> str:
        """How files that are not as pinned are put right."""
        if self.origin is Origin.CACHE:
            return "`sam3port upstream fetch` replaces the copy"
        if self.origin is Origin.SUBMODULE:
            return (
                f"`git submodule update --init --force {pin.SUBMODULE}` restores files, "
                f"`git -C {pin.SUBMODULE} clean -fdx` removes those that do not belong there"
            )
        if self.commit == UNKNOWN:
            return (
                f"put the files of commit {pin.COMMIT} back; or, to use other source on purpose, give a git "
                "checkout of another commit"
            )
        return "restore the files (see `git status`); or commit the changes, so that it is another commit"

    def describe(self) -> str:
        """One line for people: where it lies, which commit it is, and whether that is the pinned one."""
        what = {
            Origin.USER: "your checkout" if self.commit != UNKNOWN else "your copy",
            Origin.SUBMODULE: "the submodule",
            Origin.CACHE: "the copy in the cache",
        }[self.origin]
        if self.pinned:
            return f"sam3 {pin.SHORT} (pinned), {what} {self.root}"
        return (
            f"sam3 at commit {self.commit}, NOT the pinned {pin.SHORT}: {what} {self.root}; "
            "its files need not match the pin, each patch checks what it edits"
        )


def locate(explicit: Path | None = None) -> Upstream:
    """Find upstream's source, no network: ``explicit``, SAM3PORT_UPSTREAM, ``external/sam3``, the cache.

    Contents are not read here: `verify.verify` and `Upstream.check` do that.

    Raises:
        UpstreamError: the place that the user named does not hold sam3.
        UpstreamAbsent: nothing was named, and sam3 is nowhere.
    """
    if explicit is not None:
        return _user(explicit, "--upstream")
    if named := os.environ.get(places.UPSTREAM_VARIABLE):
        return _user(Path(named), places.UPSTREAM_VARIABLE)
    root = places.submodule()
    if submodule.is_populated(places.CHECKOUT):
        return Upstream(root, Origin.SUBMODULE, head.head_commit(root) or UNKNOWN, pinned=True)
    root = places.cached_copy()
    if root.is_dir():
        return Upstream(root, Origin.CACHE, pin.COMMIT, pinned=True)
    raise UpstreamAbsent(
        f"sam3 ({pin.SHORT}) is not on this machine: neither in {places.submodule()} nor in {root}",
        "`sam3port upstream fetch` gets it; or name a checkout with --upstream PATH or SAM3PORT_UPSTREAM",
    )


def _user(path: Path, named_by: str) -> Upstream:
    remedy = "give the top folder of a checkout of sam3"
    root = path.expanduser().absolute()
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise UpstreamError(f"{root} (from {named_by}) {problem}", remedy)
    if not (root / "sam3").is_dir():
        inside = root.name == "sam3" and (root / "model_builder.py").is_file()
        if inside:
            remedy = f"give the folder above it: {root.parent}"
        raise UpstreamError(f"{root} (from {named_by}) holds no folder sam3/", remedy)
    commit = head.head_commit(root)
    return Upstream(root, Origin.USER, commit or UNKNOWN, pinned=commit is None or commit == pin.COMMIT)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def ensure(explicit: Path | None = None, *, report: Callable[[str], None] = _to_stderr) -> Upstream:
    """`locate`; fetch if sam3 is nowhere and nobody named a place. ``report`` is told what is being done.

    Raises:
        UpstreamError: as `locate`, or it cannot be fetched.
    """
    try:
        return locate(explicit)
    except UpstreamAbsent:
        from sam3port.upstream import fetch

        fetch.fetch(report)
        return locate()
