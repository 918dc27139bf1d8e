"""A way to name the tensors of SAM 3's image model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sam3port.model.checkpoints.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Layout:
    """One of the ways in which people's files name the model's tensors."""

    title: str
    """For people, after "it is": ``SAM 3 with upstream's names``."""
    recipe: Callable[[str], Recipe | None]
    """What the tensor with this name in upstream's checkpoint is made of; None: files of this layout never have it."""
    clicks: tuple[str, ...]
    """What the names of everything that answers clicks start with, in the file."""
    ignored: Callable[[str], bool] = lambda _name: False
    """Whether a tensor of the file is none of an image model's, and known to be."""
    notes: tuple[str, ...] = ()
    """What a user should know about such files."""
    iou_sigmoid: bool = True
    """See `sam3port.model.preset.Traits`."""
