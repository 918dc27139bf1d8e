"""Where on this machine upstream's source can lie."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sam3port.cache.places import cache_root
from sam3port.upstream import pin

UPSTREAM_VARIABLE: Final = "SAM3PORT_UPSTREAM"

CHECKOUT: Final = Path(__file__).resolve().parents[2]
"""The folder that holds the package ``sam3port``: our own repository, or ``site-packages``."""


def submodule() -> Path:
    return CHECKOUT / pin.SUBMODULE


def cached_copies() -> Path:
    return cache_root() / "upstream"


def cached_copy() -> Path:
    """The copy of the pinned commit. It appears by a rename: if it is there, it is whole."""
    return cached_copies() / pin.COMMIT
