"""Where on this machine upstream's source can lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sam3port.upstream import pin

UPSTREAM_VARIABLE: Final = "SAM3PORT_UPSTREAM"
CACHE_VARIABLE: Final = "SAM3PORT_CACHE"

CHECKOUT: Final = Path(__file__).resolve().parents[2]
"""The folder that holds the package ``sam3port``: our own repository, or ``site-packages``."""


def submodule() -> Path:
    return CHECKOUT / pin.SUBMODULE


def cache_root() -> Path:
    """The user's cache for sam3port; the environment variable SAM3PORT_CACHE names another one."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("sam3port", appauthor=False))


def cached_copies() -> Path:
    return cache_root() / "upstream"


def cached_copy() -> Path:
    """The copy of the pinned commit. It appears by a rename: if it is there, it is whole."""
    return cached_copies() / pin.COMMIT
