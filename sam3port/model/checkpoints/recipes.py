"""What a tensor of the model is made of, and rules that say so by patterns of names."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]


class How(enum.Enum):
    """How a tensor is made of others."""

    SAME = enum.auto()
    """It is the one."""
    STACKED = enum.auto()
    """The rows of all of them, one after the other; all have equally many."""
    ROW = enum.auto()
    """One row of the one."""
    TRANSPOSED = enum.auto()
    """The one, its two axes exchanged."""
    CLASS_ROW = enum.auto()
    """The one behind a row for the class token. That row is zero; upstream never reads it (`get_abs_pos`)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one tensor of the model is made of tensors of a file."""

    names: tuple[str, ...]
    """In the file."""
    how: How = How.SAME
    row: int = 0
    """Which row, for `How.ROW`."""
    rows: int = 1
    """How many rows there are, for `How.ROW`."""

    def shapes(self, wanted: Shape) -> list[Shape]:
        """The shapes that the file's tensors must have, so that one of the shape ``wanted`` comes out."""
        if self.how is How.STACKED:
            return [(wanted[0] // len(self.names), *wanted[1:])] * len(self.names)
        if self.how is How.ROW:
            return [(self.rows, *wanted[1:])]
        if self.how is How.TRANSPOSED:
            return [wanted[::-1]]
        if self.how is How.CLASS_ROW:
            return [(wanted[0], wanted[1] - 1, *wanted[2:])]
        return [wanted]

    def fill(self, target: Tensor, parts: Sequence[Tensor]) -> None:
        """Writes the tensor. Its type may differ from that of the parts, whose shapes are those of `shapes`."""
        if self.how is How.STACKED:
            for rows, part in zip(target.chunk(len(parts)), parts, strict=True):
                rows.copy_(part)
        elif self.how is How.ROW:
            target.copy_(parts[0][self.row : self.row + 1])
        elif self.how is How.TRANSPOSED:
            target.copy_(parts[0].T)
        elif self.how is How.CLASS_ROW:
            target[:, :1].zero_()
            target[:, 1:].copy_(parts[0])
        else:
            target.copy_(parts[0])


@dataclass(frozen=True, slots=True)
class Rule:
    """How the tensors whose names have a form are found in a file.

    Names have places in braces: ``{n}`` (also ``{k}`` and ``{i}``) is a number, ``{p}`` is ``weight`` or ``bias``,
    ``{rest}`` is anything. What stands there in upstream's name stands there in the file's, too; ``{i1}`` is the number
    ``{i}`` plus one.
    """

    ours: str
    theirs: str | tuple[str, ...]
    how: How = How.SAME
    row: int = 0
    rows: int = 1


@dataclass(frozen=True)
class Scope:
    """The rules for everything whose name starts alike. The first rule that fits counts."""

    ours: str
    theirs: str
    rules: tuple[Rule, ...]
    _patterns: list[re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", [_pattern(rule.ours) for rule in self.rules])

    def recipe(self, name: str) -> Recipe | None:
        """For upstream's ``name``, None where no rule fits."""
        if not name.startswith(self.ours):
            return None
        for rule, pattern in zip(self.rules, self._patterns, strict=True):
            if match := pattern.fullmatch(name, len(self.ours)):
                theirs = (rule.theirs,) if isinstance(rule.theirs, str) else rule.theirs
                return Recipe(
                    tuple(self.theirs + _filled(each, match) for each in theirs), rule.how, rule.row, rule.rows
                )
        return None


_PLACES: Final = {"n": r"\d+", "k": r"\d+", "i": r"\d+", "p": "weight|bias", "rest": ".+"}


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    texts, places = parts[::2], parts[1::2]
    pattern = re.escape(texts[0])
    for place, text in zip(places, texts[1:], strict=True):
        pattern += f"(?P<{place}>{_PLACES[place]})" + re.escape(text)
    return re.compile(pattern)


def _filled(template: str, match: re.Match[str]) -> str:
    places = match.groupdict()
    if "i" in places:
        places["i1"] = str(int(places["i"]) + 1)
    return template.format_map(places)
