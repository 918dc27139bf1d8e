"""What a server accepts at most, so that nobody can fill its memory or keep it busy for himself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MEGA: Final = 1_000_000


@dataclass(frozen=True)
class Limits:
    upload_bytes: int = 40 * MEGA
    """Of one picture's file."""
    memory_bytes: int = 2_000 * MEGA
    """Of all pictures and what the image encoder made of them; those used least recently go."""
    rate: float = 30
    """Requests of one address in a second, on average; 0 for any number."""
    burst: float = 120
    """Requests of one address at once, after a pause."""
    uploads: int = 8
    """Pictures that arrive at the same time."""
    waiting_pictures: int = 32
    """Pictures that wait for the image encoder."""
    waiting_prompts: int = 64
    """Prompts that wait for their answer."""
    upload_seconds: float = 120
    """How long a picture may take to arrive, and any other body."""
    body_bytes: int = MEGA
    """Of a prompt's JSON."""
    texts: int = 32
    """In one prompt."""
    text_characters: int = 1_000
    """Of one text."""
