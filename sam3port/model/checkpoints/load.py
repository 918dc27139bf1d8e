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

    def plan(self) -> None:
        """Finds everything, or raises."""
        self.wanted = self.model.state_dict()
        whose = self._sources()
        missing: list[str] = []
        misfits: list[str] = []
        used: set[str] = set()
        for name, target in self.wanted.items():
            key = in_checkpoint(name)
            source = whose[part_of(key)]
            recipe = source.find(key) if source else None
            if source is None:
                (self.unread if not key.endswith(TABLE) else []).append(name)
            elif key.endswith(TABLE):
                self._table(name, target, source, recipe, misfits, used)
            elif recipe is None:
                missing += _absent(source, key, used)
            else:
                self._add(name, target, source, recipe, misfits, used)
        left = self._left_over(used)
        if missing or left or misfits:
            parts = (
                listed("missing from the file", missing),
                listed("unknown to the model", left),
                listed("wrongly shaped", sorted(misfits)),
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

    def _add(
        self, name: str, target: Tensor, source: Checkpoint, recipe: Recipe, misfits: list[str], used: set[str]
    ) -> None:
        for part, shape in zip(recipe.names, recipe.shapes(tuple(target.shape)), strict=True):
            if source is self.opened[0]:
                used.add(part)
            stored = source.stored(part)
            if stored.shape != shape:
                misfits.append(f"{part} is {stored.shape}, not {shape}")
            elif stored.dtype not in _FLOATS:
                misfits.append(f"{part} is stored as {stored.dtype}, not in {', '.join(_FLOATS)}")
        self.steps.append((name, source, recipe))

    def _table(
        self,
        name: str,
        target: Tensor,
        source: Checkpoint,
        recipe: Recipe | None,
        misfits: list[str],
        used: set[str],
    ) -> None:
        """The model's own stays unless the file has this very one."""
        if recipe is None:
            return
        part = recipe.names[0]
        if source is self.opened[0]:
            used.add(part)
        stored = source.stored(part)
        found, own = (
            _rotations(stored),
            _rotations(Stored(tuple(target.shape), str(target.dtype).removeprefix("torch."))),
        )
        if found is None or own is None or found[1] != own[1]:
            misfits.append(f"{part} is {stored.shape}, not {tuple(target.shape)}")
        elif found == own:
            if stored.dtype in _EXACT:
                self.steps.append((name, source, recipe))
        elif math.isqrt(found[0]) ** 2 != found[0]:  # no square image has it
            misfits.append(f"{part} is {stored.shape}, not {tuple(target.shape)}")

    def _left_over(self, used: set[str]) -> list[str]:
        main = self.opened[0]
        interactive = any(name.startswith(PREDICTOR) for name in self.wanted)
        # An image model without the predictor has no place for what a whole checkpoint has for it.
        elsewhere = () if interactive or not main.has(CLICKS) else main.layout.clicks
        return [
            name
            for name in main.names
            if name not in used and not main.layout.ignored(name) and not (elsewhere and name.startswith(elsewhere))
        ]


def _absent(source: Checkpoint, key: str, used: set[str]) -> list[str]:
    """Of what a tensor is made of, what is not in the file, by the names that it should have there."""
    recipe = source.layout.recipe(key)
    if recipe is None:
        return [key]
    used.update(recipe.names)  # the rest of it is not left over
    return [name for name in recipe.names if name not in source.names]


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
