"""What a checkpoint is and what it can be used for, from names and shapes alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sam3port.model.checkpoints.errors import GET, CheckpointError
from sam3port.model.checkpoints.files import open_content
from sam3port.model.checkpoints.parts import CLICKS, FOURTH_LEVEL, IMAGE, PARTS, POINTS, REQUIRED, TRANSFORMER
from sam3port.model.checkpoints.recognise import Checkpoint, recognise
from sam3port.model.preset import PRESETS, Traits


@dataclass(frozen=True, slots=True)
class Survey:
    """A checkpoint, described."""

    title: str
    """What it is, for people."""
    tensors: int
    dtype: str
    """What most of its tensors are stored in."""
    preset: str | None
    """The preset whose sizes it has; None where it has those of no preset."""
    traits: Traits
    """Of the model that it makes, together with its base."""
    from_base: tuple[str, ...]
    """The parts that its base has to give."""
    absent: tuple[str, ...]
    """The parts that nothing gives, and without which nothing can be answered."""
    notes: tuple[str, ...]

    @property
    def lacks(self) -> tuple[str, ...]:
        """What an artifact made of it cannot do: of ``points`` and ``clicks``."""
        return tuple(name for name in ("points", "clicks") if not getattr(self.traits, name))


def survey(path: Path, base: Path | None = None) -> Survey:
    """Looks at a checkpoint.

    Args:
        path: as for `sam3port.model.checkpoints.load.load_checkpoint`.
        base: the same.

    Raises:
        CheckpointError: one of them is no checkpoint of SAM 3.
    """
    main, *rest = opened = open_checkpoints(path, base)
    given = {part: next((each for each in opened if each.has(part)), None) for part in PARTS}
    answering = given[CLICKS]
    return Survey(
        title=main.layout.title,
        tensors=len(main.names),
        dtype=Counter(each.dtype for each in main.content.stored.values()).most_common(1)[0][0],
        preset=_preset(opened),
        traits=Traits(
            points=given[POINTS] is not None,
            clicks=answering is not None,
            iou_sigmoid=answering is None or answering.layout.iou_sigmoid,
            fourth_level=next((each for each in opened if each.has(IMAGE)), main).find(FOURTH_LEVEL) is not None,
        ),
        from_base=tuple(part.title for part, source in given.items() if rest and source is rest[0]),
        absent=tuple(part.title for part in REQUIRED if given[part] is None),
        notes=main.layout.notes,
    )


def open_checkpoints(path: Path, base: Path | None = None) -> list[Checkpoint]:
    """The checkpoint, then its base if there is one."""
    return [recognise(open_content(each)) for each in (path, base) if each is not None]


def check(found: Survey, path: Path, preset: str) -> None:
    """Makes sure that a model of these sizes can be made.

    Args:
        found: what was found out about ``path`` and its base.
        path: named in the error.
        preset: the name of the one that was asked for.

    Raises:
        CheckpointError: a part is nowhere, or the sizes are another preset's.
    """
    if found.absent:
        raise CheckpointError(
            f"{path} is {found.title}, without {', '.join(found.absent)}",
            f"give the checkpoint that it was trained from, too: --base FILE. {GET}",
        )
    if found.preset not in (None, preset):
        raise CheckpointError(
            f"{path} has the sizes of the preset {found.preset}, not of {preset}", f"give --preset {found.preset}"
        )


def _preset(opened: list[Checkpoint]) -> str | None:
    shapes = []
    for part in (IMAGE, TRANSFORMER):
        for each in opened:
            if recipe := each.find(part.probe):
                shapes.append(each.stored(recipe.names[0]).shape)
                break
    for name, preset in PRESETS.items():
        wanted = (preset.vit_embed_dim, 3, preset.patch_size, preset.patch_size), (preset.num_queries, preset.d_model)
        if tuple(shapes) == wanted:
            return name
    return None
