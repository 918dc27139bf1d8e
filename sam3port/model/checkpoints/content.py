"""The tensors of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as a file has it."""

    shape: tuple[int, ...]
    dtype: str
    """By torch's name: ``float32``."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file, or several that belong together, holds. Tensors are read when they are asked for."""

    path: Path
    """As the user named it."""
    stored: Mapping[str, Stored]
    """Every tensor, by its name."""
    read: Callable[[str], Tensor]
    """One tensor, by its name: mapped into memory, in the type in which it is stored."""
