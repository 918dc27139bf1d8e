"""The packages that sam3port asks for, by its own metadata: to run artifacts, and besides for each of its extras."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sam3port.errors import UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT: Final = "sam3port"
BUILD: Final = "build"
"""The extra with what building, verifying and running upstream need."""


def requirements(extra: str = "") -> list[Requirement]:
    """What is to be installed here.

    Args:
        extra: one of the extras in pyproject.toml: what it adds, that of the extras which it names included. Without
            one, what running an artifact needs.

    Returns:
        The requirements whose conditions hold in this environment; none where sam3port was not installed, but only
        lies in the search path.
    """
    return list(_requirements(extra, set()))


def missing(extra: str) -> list[str]:
    """The names of the packages that ``extra`` adds and that are not installed, whatever version is asked for."""
    return [asked.name for asked in requirements(extra) if installed(asked.name) is None]


def installed(name: str) -> str | None:
    """The version of a distribution in this environment, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def remedy(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install '{PROJECT}[{extra}]'"


def require(extra: str, what: str) -> None:
    """Makes sure that the packages of ``extra`` are installed.

    Args:
        extra: of those in pyproject.toml.
        what: for which they are needed: ``sam3port build``.

    Raises:
        UsageError: one is not; it names all, and the command that installs them.
    """
    if absent := missing(extra):
        raise UsageError(f"{what} needs packages that are not installed here: {', '.join(absent)}", remedy(extra))


def _requirements(extra: str, seen: set[str]) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    seen.add(extra)
    try:
        lines = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        asked = Requirement(line)
        here = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if extra:  # without what is asked for anyway
            here = not here and asked.marker is not None and asked.marker.evaluate({"extra": extra})
        if not here:
            continue
        if asked.name != PROJECT:
            yield asked
            continue
        for other in sorted(asked.extras - seen):
            yield from _requirements(other, seen)
