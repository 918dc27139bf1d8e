"""Fills upstream's image model from a checkpoint: all of it or an error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.model.checkpoints.content import Stored
from sam3port.model.checkpoints.errors import CheckpointError, listed
from sam3port.model.checkpoints.parts import CLICKS, MEMORY, POINTS, PREDICTOR, TABLE, Part, in_checkpoint, part_of
from sam3port.model.checkpoints.recipes import Recipe
from sam3port.model.checkpoints.recognise import Checkpoint
from sam3port.model.checkpoints.survey import open_checkpoints
from sam3port.model.preset import Traits

if TYPE_CHECKING:
    from torch import Tensor, nn

_FLOATS: Final = ("float64", "float32", "float16", "bfloat16")
"""What weights may be stored in; they become float32."""
_EXACT: Final = ("complex64", "complex128", "float32", "float64")
"""What rotary tables are taken from; others are computed anew."""


def load_checkpoint(model: nn.Module, path: Path, *, base: Path | None = None, traits: Traits | None = None) -> None:
    """Copies a checkpoint's tensors into ``model``, one at a time.

    Every parameter comes from the checkpoint. Rotary tables are computed, not learned: the model's own stay where the
    file has none, or those of another image size. What the file lacks and the model never reads becomes NaN: the
    tracker's memory, and what ``traits`` says is not there.

    Args:
        model: upstream's image model, with or without the interactive predictor and the float_rope patch.
        path: a file or a folder; any of those that docs/weights.md lists.
        base: another checkpoint, for the parts of which ``path`` has nothing.
        traits: what the model has, as `sam3port.model.checkpoints.survey` found it; by default everything.

    Raises:
        CheckpointError: no such file, of another kind, or tensors are missing, left over, of another shape or not
            finite; it lists them. Only in the last case anything was written to the model.
    """
    work = _Work(model, open_checkpoints(path, base), traits or Traits())
    work.plan()
    work.fill()


@dataclass
class _Work:
    """One load."""

    model: nn.Module
    opened: list[Checkpoint]
    traits: Traits
    steps: list[tuple[str, Checkpoint, Recipe]] = field(default_factory=list)
    """For each tensor of the model, by its name in it, what it is made of."""
    unread: list[str] = field(default_factory=list)
    """Tensors of the model that nothing gives and that are never read."""
    missing: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """Tensors of the first checkpoint that have a place in the model."""

    def plan(self) -> None:
        """Finds everything, or raises."""
        self.wanted = self.model.state_dict()
        whose = self._sources()
        for name, target in self.wanted.items():
            key = in_checkpoint(name)
            source = whose[part_of(key)]
            recipe = source.find(key) if source else None
            if key.endswith(TABLE):
                if source and recipe:
                    self._add_table(name, target, source, recipe)
            elif source is None:
                self.unread.append(name)
            elif recipe is None:
                self.missing += _absent(source, key)
                self.used.update(_names(source, key))  # what there is of it is not left over
            else:
                self._add(name, target, source, recipe)
        left = self._left_over()
        if self.missing or left or self.misfits:
            parts = (
                listed("missing from the file", self.missing),
                listed("unknown to the model", left),
                listed("wrongly shaped", sorted(self.misfits)),
            )
            raise CheckpointError(
                f"{self.opened[0].path} is not a checkpoint of this model ({len(self.wanted)} tensors)"
                + "".join(parts),
                "use a checkpoint of the chosen preset, as it was published or as a trainer left it",
            )

    def fill(self) -> None:
        """Writes what was planned."""
        import torch

        infinite = []
        with torch.no_grad():
            for name in self.unread:
                self.wanted[name].fill_(math.nan)
            for name, source, recipe in self.steps:
                target = self.wanted[name]
                parts = [source.read(each) for each in recipe.names]
                if name.endswith(TABLE):
                    parts = [_like(parts[0], target)]
                recipe.fill(target, parts)
                if not _finite(target):
                    infinite.append(source.names[recipe.names[0]])
        if infinite:
            raise CheckpointError(
                f"{self.opened[0].path} holds values that are no finite numbers" + listed("such tensors", infinite),
                "its training or conversion went wrong, or float16 was too narrow for it: use another file",
            )

    def _sources(self) -> dict[Part, Checkpoint | None]:
        """Which checkpoint gives each part: the first that has any of it. None: it is never read."""
        keys: dict[Part, list[str]] = {}
        for name in self.wanted:
            key = in_checkpoint(name)
            keys.setdefault(part_of(key), []).append(key)
        optional = {MEMORY, *(() if self.traits.points else (POINTS,))}
        return {
            part: next(
                (each for each in self.opened if any(each.find(key) for key in own if not key.endswith(TABLE))),
                None if part in optional else self.opened[0],
            )
            for part, own in keys.items()
        }

    def _add(self, name: str, target: Tensor, source: Checkpoint, recipe: Recipe) -> None:
        self._use(source, recipe)
        for part, shape in zip(recipe.names, recipe.shapes(tuple(target.shape)), strict=True):
            stored = source.stored(part)
            if stored.shape != shape:
                self.misfits.append(f"{part} is {stored.shape}, not {shape}")
            elif stored.dtype not in _FLOATS:
                self.misfits.append(f"{part} is stored as {stored.dtype}, not in {', '.join(_FLOATS)}")
        self.steps.append((name, source, recipe))

    def _add_table(self, name: str, target: Tensor, source: Checkpoint, recipe: Recipe) -> None:
        """The model's own stays unless the file has this very one."""
        self._use(source, recipe)
        (part,) = recipe.names
        stored = source.stored(part)
        own = _rotations(Stored(tuple(target.shape), str(target.dtype).removeprefix("torch.")))
        found = _rotations(stored)
        if found == own and stored.dtype in _EXACT:
            self.steps.append((name, source, recipe))
        # Another number of positions is another image's, which is square.
        elif not found or not own or found[1] != own[1] or (found != own and math.isqrt(found[0]) ** 2 != found[0]):
            self.misfits.append(f"{part} is {stored.shape}, not {tuple(target.shape)}")

    def _use(self, source: Checkpoint, recipe: Recipe) -> None:
        if source is self.opened[0]:
            self.used.update(recipe.names)

    def _left_over(self) -> list[str]:
        main = self.opened[0]
        interactive = any(name.startswith(PREDICTOR) for name in self.wanted)
        # An image model without the predictor has no place for what a whole checkpoint has for it.
        elsewhere = () if interactive or not main.has(CLICKS) else main.layout.clicks
        return [
            name
            for name in main.names
            if name not in self.used and not main.layout.ignored(name) and not name.startswith(elsewhere)
        ]


def _names(source: Checkpoint, key: str) -> tuple[str, ...]:
    """Of what a tensor is made of, by the names that it should have in the file."""
    recipe = source.layout.recipe(key)
    return recipe.names if recipe else (key,)


def _absent(source: Checkpoint, key: str) -> list[str]:
    return [name for name in _names(source, key) if name not in source.names]


def _rotations(table: Stored) -> tuple[int, int] | None:
    """Positions and rotations of a rotary table: complex numbers, or cosines and sines in pairs or in rows."""
    shape = table.shape
    if table.dtype.startswith("complex"):
        return (shape[0], shape[1]) if len(shape) == 2 else None
    if not table.dtype.startswith(("float", "bfloat")):
        return None
    if len(shape) == 3 and shape[2] == 2:
        return shape[0], shape[1]
    return (shape[0], shape[1] // 2) if len(shape) == 2 and shape[1] % 2 == 0 else None


def _like(table: Tensor, target: Tensor) -> Tensor:
    """A rotary table in the form that the model has it in."""
    import torch

    if table.is_complex():
        table = torch.view_as_real(table.resolve_conj())
    if target.is_complex():
        return torch.view_as_complex(table.reshape(*target.shape, 2).contiguous())
    return table.reshape(target.shape)


def _finite(tensor: Tensor) -> bool:
    """Without a mask as large as the tensor, unless something is wrong."""
    import torch

    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return math.isfinite(float(tensor.sum())) or bool(torch.isfinite(tensor).all())
