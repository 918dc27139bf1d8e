"""Where on this machine things are kept that need not be made twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sam3port.errors import UsageError

CACHE_VARIABLE: Final = "SAM3PORT_CACHE"


def cache_root() -> Path:
    """The user's cache for sam3port; the environment variable SAM3PORT_CACHE names another one.

    Raises:
        UsageError: none is named, and the user has no home folder.
    """
    try:
        if named := os.environ.get(CACHE_VARIABLE):
            return Path(named).expanduser().absolute()
        import platformdirs

        root = Path(platformdirs.user_cache_dir("sam3port", appauthor=False))
    except RuntimeError:
        raise no_home() from None
    if not root.is_absolute():  # an older platformdirs leaves the ~ as it is
        raise no_home()
    return root


def not_writable(folder: Path, error: OSError) -> UsageError:
    """The error of a user in whose cache nothing can be kept."""
    return UsageError(
        f"the cache cannot be written: {error.filename or folder}: {error.strerror or error}",
        f"set {CACHE_VARIABLE} to a folder that can be written",
    )


def no_home() -> UsageError:
    """The error of a user without a home folder."""
    return UsageError(
        "no home folder is known: HOME is not set, and the system has none for this user", "set HOME to a folder"
    )
