"""Reports as JSON that people can read and a repository can hold: a line for each entry, few digits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

DIGITS: Final = 4
"""Significant digits of a measured number."""


def compact(content: Mapping[str, Any]) -> str:
    """JSON text: a line for each value, and for each entry of a list that holds objects.

    Floating point numbers are rounded to `DIGITS` digits; of those just below 1 the distance from it is, so that an IoU
    of 0.9999823 stays what it is. Those that are not finite become words: JSON has no numbers for them.
    """
    lines = []
    for key, value in content.items():
        text = _line(value)
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            text = "[\n  " + ",\n  ".join(map(_line, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(shortened(value), separators=(", ", ":"))


def shortened(value: Any) -> Any:
    """A value with its numbers rounded."""
    if isinstance(value, Mapping):
        return {key: shortened(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(each) for each in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    if 0.9 < value < 1:
        return 1 - float(f"{1 - value:.{DIGITS}g}")
    rounded = float(f"{value:.{DIGITS}g}")
    return rounded if math.isfinite(rounded) else value  # the largest floats would be rounded out of their range
