"""Where tables and progress go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH: Final = 160
"""Columns when nobody looks at a terminal: wide enough that a log or a pager gets whole lines."""


def output() -> Console:
    """Standard output."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)


def messages() -> Console:
    """Standard error: progress and notes, so that standard output stays clean."""
    from rich.console import Console

    return Console(stderr=True)


def printable(text: object) -> str:
    """A text, such as a file's name, without what moves a terminal's cursor or cannot be encoded: that is escaped."""
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))
    return "".join(escaped)
