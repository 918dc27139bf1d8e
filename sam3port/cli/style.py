"""Colours of states in tables."""

from __future__ import annotations

from typing import Final

STATE_STYLE: Final = {
    "applied": "green",
    "off": "yellow",
    "not needed here": "cyan",
    "drift": "bold red",
    "failed": "bold red",
}
