"""What a patch is: a declaration. The machinery in this package does the work."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sam3port.errors import UsageError


class Kind(StrEnum):
    """Why a patch exists. The reference of every numeric proof has the portability patches only."""

    PORTABILITY = "portability"
    """Upstream does not run off CUDA without it."""
    FIX = "fix"
    """A bug of upstream's."""
    EXPORT = "export"
    """Needed to trace or import a model; keeps every value."""


_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement of text in one symbol of one upstream module.

    ``before`` must occur exactly once inside the symbol, in the pristine source. Edits therefore depend neither
    on each other nor on their order.
    """

    module: str
    """Dotted name, ``sam3.model.decoder``."""
    symbol: str
    """Qualified name of the enclosing class or function, ``TransformerDecoder.__init__``.

    "" is the module level: what lies outside of functions and classes.
    """
    before: str
    after: str

    def __post_init__(self) -> None:
        parts = self.module.split(".")
        if parts[0] != "sam3" or not all(p.isidentifier() and not keyword.iskeyword(p) for p in parts):
            raise UsageError(f"an edit must name a module of sam3, not {self.module!r}")
        if not self.before.strip():
            raise UsageError(f"the edit of {self.module}:{self.symbol} has an empty text to replace")
        if self.before == self.after:
            raise UsageError(f"the edit of {self.module}:{self.symbol} changes nothing")

    @property
    def after_is_telling(self) -> bool:
        """Whether finding ``after`` says that the edit was made: not when it only takes text away."""
        return bool(self.after.strip()) and self.after.strip() not in self.before


@dataclass(frozen=True, slots=True)
class Patch:
    """A named, explained change of upstream that can be switched off."""

    name: str
    kind: Kind
    summary: str
    """One line for tables."""
    reason: str
    """What breaks without it, and where."""
    upstream: str
    """Where upstream stands on it: file and line, issue or commit."""
    retire_when: str
    """What has to happen for this patch to go."""
    edits: tuple[Edit, ...] = ()
    not_needed: Callable[[], str | None] | None = field(default=None, compare=False)
    """Why this machine does without the patch, or None when it is needed. Cheap: called when the hook installs."""
    prepare: Callable[[], str | None] | None = field(default=None, compare=False)
    """Runs once, right before the first upstream module executes. May import torch. Returns why nothing had to be
    done, or None when it did something."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise UsageError(f"a patch is named like_this, not {self.name!r}")
        if not self.edits and self.prepare is None:
            raise UsageError(f"the patch {self.name} has neither edits nor something to prepare")

    @property
    def modules(self) -> tuple[str, ...]:
        """The upstream modules it edits, each once, in the order of its edits."""
        return tuple(dict.fromkeys(edit.module for edit in self.edits))
