"""What is said about a file that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sam3port.errors import UsageError

GET: Final = "sam3.pt can be had at https://huggingface.co/facebook/sam3 after accepting the SAM License there"
"""The remedy where a file is none of those that sam3port takes."""
_FIRST: Final = 10


class CheckpointError(UsageError):
    """The file is not a checkpoint of this model."""


def listed(what: str, names: Sequence[str]) -> str:
    """A line with the number of names and the first of them; nothing where there are none."""
    if not names:
        return ""
    rest = f", and {len(names) - _FIRST} more" if len(names) > _FIRST else ""
    return f"\n  {len(names)} {what}: {', '.join(names[:_FIRST])}{rest}"
