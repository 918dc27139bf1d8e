"""Values out of a JSON file, with their types checked."""

from __future__ import annotations

from typing import Any


class Wrong(Exception):
    """Which value is wrong, and how."""


def get(content: Any, name: str, kind: type) -> Any:
    """The value of that name and type, exactly: true is no number."""
    value = content.get(name) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise Wrong(f"{name} is {type(value).__name__ if value is not None else 'missing'}, not {kind.__name__}")
    return value


def count(content: dict[str, Any], name: str) -> int:
    """A size or a number of things."""
    value: int = get(content, name, int)
    if not 0 <= value < 2**31:
        raise Wrong(f"{name} is {value}")
    return value


def texts(content: dict[str, Any], name: str) -> list[str]:
    """A list of texts."""
    values: list[str] = get(content, name, list)
    if not all(type(value) is str for value in values):
        raise Wrong(f"{name} does not hold texts only")
    return values
