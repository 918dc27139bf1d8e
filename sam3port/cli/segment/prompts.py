"""What to look for, as it is written on the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.artifact.hashes import sha256
from sam3port.errors import UsageError

if TYPE_CHECKING:
    import click

    from sam3port.artifact.interface import Capacity
    from sam3port.artifact.manifest import Manifest
    from sam3port.runtime.encoded import EncodedImage
    from sam3port.runtime.everything import Grid
    from sam3port.runtime.exemplar import Exemplar
    from sam3port.runtime.model import Model
    from sam3port.runtime.picture import Pixels
    from sam3port.runtime.result import Clicked, Result

FIND: Final = "find"
"""Every object that fits texts and examples."""
CLICK: Final = "click"
"""Points and box mark one object, instead of showing what is wanted."""
EACH_BOX: Final = "each-box"
"""Each box marks one object."""
SEMANTIC: Final = "semantic"
"""All pixels of a text's kind, not told apart by object."""
EVERYTHING: Final = "everything"
"""Every object, of any kind."""
_SIGNS: Final = {"+": True, "-": False}
_FORMS: Final = {2: "X,Y", 4: "X0,Y0,X1,Y1"}


@dataclass(frozen=True)
class Example:
    """A box (x0, y0, x1, y1) or a point (x, y) in pixels, and whether what it shows is wanted."""

    numbers: tuple[float, ...]
    wanted: bool


@dataclass(frozen=True)
class Prompt:
    """What is asked of every picture."""

    texts: tuple[str, ...]
    boxes: tuple[Example, ...]
    points: tuple[Example, ...]
    threshold: float
    mode: str = FIND
    """`FIND`, `CLICK`, `EACH_BOX`, `SEMANTIC` or `EVERYTHING`."""
    mask_threshold: float = 0.5
    max_objects: int | None = None
    nms: float | None = None
    grid: Grid | None = None
    """Of `EVERYTHING`."""
    tile: tuple[int, int] | None = None
    """Side and overlap of the tiles that the picture is cut into."""
    like: Path | None = None
    """The picture that boxes and points are in, if they are not in each one that is asked."""
    exemplar: Exemplar | None = field(default=None, repr=False, compare=False)
    """What is shown there, once a model has seen it: `shown_to`."""

    @property
    def categories(self) -> tuple[str, ...]:
        """What objects are called."""
        return self.texts or ("object",)

    def check(self) -> None:
        """What can be said without a model.

        Raises:
            UsageError: there is nothing to look for, or the parts contradict each other.
        """
        if not all(text.strip() for text in self.texts):
            raise UsageError("--text is empty", "name what to look for, or leave --text out")
        if len(set(self.texts)) < len(self.texts):
            twice = next(text for text in self.texts if self.texts.count(text) > 1)
            raise UsageError(f"the text {twice!r} is given twice", "give each once")
        if self.mode == EVERYTHING:
            if self.texts or self.boxes or self.points:
                raise UsageError("--everything is not told what to look for", "leave --text, --box and --point out")
            return
        if not self.texts and not self.boxes and not self.points:
            raise UsageError("there is nothing to look for", "give --text, --box or --point")
        if self.mode == SEMANTIC and (self.boxes or self.points):
            raise UsageError("--semantic takes texts only", "leave --box and --point out")
        if self.tile is not None and (self.mode != FIND or self.boxes or self.points):
            raise UsageError("--tile takes texts only: boxes and points are in one tile", "give --text")
        if self.like is not None and (self.mode != FIND or not (self.boxes or self.points)):
            raise UsageError("--like names the picture that --box and --point are in", "give them, and no other mode")
        if self.mode == EACH_BOX and (self.texts or self.points or not all(box.wanted for box in self.boxes)):
            raise UsageError("--each-box takes nothing but --box X0,Y0,X1,Y1", "leave the rest out")
        if self.mode == CLICK:
            self._check_click()

    def _check_click(self) -> None:
        if self.texts:
            raise UsageError("--click takes no --text", "mark the object with --point or --box")
        if len(self.boxes) > 1 or not all(box.wanted for box in self.boxes):
            raise UsageError("--click takes at most one --box, around the object", "mark the rest with --point X,Y:-")

    def fits(self, capacity: Capacity) -> None:
        """Raises UsageError when the artifact was built for fewer boxes or points."""
        counts = [("points", len(self.points), capacity.points)]
        if self.mode == FIND:  # a click has room for its box besides
            counts.append(("boxes", len(self.boxes), capacity.boxes))
        for what, given, most in counts:
            if given > most:
                raise UsageError(
                    f"{given} {what} are given, the artifact was built for at most {most}",
                    f"give fewer, or build another: sam3port build --{what} {given}",
                )

    def has_weights(self, manifest: Manifest) -> None:
        """Raises UsageError when the artifact was built from a checkpoint that has no weights for such a prompt."""
        if self.mode in (CLICK, EACH_BOX, EVERYTHING):
            manifest.require("clicks", "clicks")
        elif self.points:
            manifest.require("points", "points as examples")

    def shown_to(self, model: Model) -> Prompt:
        """The same, with what is to be seen in `like` as ``model`` sees it.

        Raises:
            UsageError: the picture cannot be read; a box or a point is outside of it; the artifact was built before
                there were exemplars.
        """
        if self.like is None:
            return self
        image = model.encode_image(self.like)
        return replace(self, exemplar=image.exemplar(**self._examples()))

    def _examples(self) -> dict[str, Any]:
        return {
            "boxes": [box.numbers for box in self.boxes],
            "box_labels": [box.wanted for box in self.boxes],
            "points": [point.numbers for point in self.points],
            "point_labels": [point.wanted for point in self.points],
        }

    def ask(self, image: EncodedImage) -> Result | Clicked:
        """The picture's answer.

        Raises:
            UsageError: a box or a point is outside the picture.
        """
        if self.mode == EVERYTHING:
            return self._best(image.everything(self.grid))
        if self.mode == EACH_BOX:
            return image.segment_boxes([box.numbers for box in self.boxes])
        if self.mode == SEMANTIC:
            return image.semantic(self.texts, self.mask_threshold)
        if self.mode == CLICK:
            box = self.boxes[0].numbers if self.boxes else None
            # One point may mean a part or the whole; more say which, and one mask is the better answer (upstream's
            # advice in sam1_task_predictor.py:255).
            ambiguous = len(self.points) + len(self.boxes) == 1
            shown = self._examples()
            return image.click(shown["points"], shown["point_labels"], box, multimask=ambiguous)
        return image.segment(
            text=self.texts or None,
            **(self._examples() if self.exemplar is None else {"like": self.exemplar}),
            threshold=self.threshold,
            mask_threshold=self.mask_threshold,
            max_objects=self.max_objects,
            nms=self.nms,
        )

    def answer(self, model: Model, pixels: Pixels) -> Result | Clicked:
        """The answer of a picture that was not encoded before.

        Raises:
            UsageError: as `ask`.
        """
        return self.ask(model.encode_image(pixels)) if self.tile is None else self.ask_large(model, pixels)

    def ask_large(self, model: Model, pixels: Pixels) -> Result:
        """The answer of a picture that is cut into tiles."""
        assert self.tile is not None
        side, overlap = self.tile
        chosen = {"mask_threshold": self.mask_threshold, "max_objects": self.max_objects, "nms": self.nms}
        return model.segment_large(pixels, self.texts, side, overlap, self.threshold, **chosen)  # type: ignore[arg-type]

    def _best(self, found: Result) -> Result:
        from sam3port.runtime.choose import best

        return found if self.max_objects is None else found.take(best(found.scores, self.max_objects))

    def as_json(self) -> dict[str, Any]:
        """Of numbers and texts."""

        def listed(examples: tuple[Example, ...]) -> list[dict[str, Any]]:
            return [{"pixels": list(example.numbers), "wanted": example.wanted} for example in examples]

        return {
            "text": self.texts[0] if len(self.texts) == 1 else None,
            "texts": list(self.texts),
            "boxes": listed(self.boxes),
            "points": listed(self.points),
            "mode": self.mode,
            "threshold": self.threshold if self.mode == FIND else None,
            "mask_threshold": self.mask_threshold,
            "max_objects": self.max_objects,
            "nms": self.nms,
            "click": self.mode == CLICK,
            "grid": None if self.grid is None else self.grid.as_json(),
            "tile": None if self.tile is None else list(self.tile),
            "like": None if self.like is None else {"file": str(self.like), "sha256": sha256(self.like)},
        }

    def notes(self) -> list[str]:
        """What may not be meant as it is written."""
        return [
            f"the text {text!r} is asked as one phrase; for several things give one noun phrase each: --text A --text B"
            for text in self.texts
            if "," in text or "\n" in text.strip()
        ]


def read_labels(file: Path) -> tuple[str, ...]:
    """The texts in a file, one in each line; empty lines and those that begin with # do not count.

    Raises:
        UsageError: it cannot be read, is not UTF-8 or holds none.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8", "write one noun phrase in each line") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    texts = tuple(line for line in lines if line and not line.startswith("#"))
    if not texts:
        raise UsageError(f"{file} holds no text", "write one noun phrase in each line")
    return texts


def examples(
    count: int,
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[Example, ...]]:
    """Click's callback for a repeatable option of that many numbers (2: a point, 4: a box)."""

    def convert(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Example, ...]:
        return tuple(example(parameter.opts[0], value, count) for value in values)

    return convert


def example(option: str, value: str, count: int) -> Example:
    """Of a value such as ``10,20,110.5,220:-``.

    Raises:
        UsageError: it is written otherwise, is infinite or no number, or is a box without area.
    """
    remedy = f"write {option} {_FORMS[count]}, and :- behind it for what is not wanted"
    numbers, colon, sign = value.partition(":")
    if colon and sign.strip() not in _SIGNS:
        raise UsageError(f"{option} {value}: what follows the colon is neither + nor -", remedy)
    parts = numbers.split(",")
    if len(parts) != count:
        raise UsageError(f"{option} {value}: {len(parts)} numbers instead of {count}", remedy)
    read = tuple(_number(option, value, part, remedy) for part in parts)
    if count == 4 and (read[0] >= read[2] or read[1] >= read[3]):
        raise UsageError(f"{option} {value}: the box has no area; X0 must be less than X1, Y0 less than Y1", remedy)
    return Example(read, not colon or _SIGNS[sign.strip()])


def threshold(_context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Click's callback: 0..1, which NaN is not."""
    if value is not None and not 0 <= value <= 1:
        remedy = "objects with a score above it are kept" if parameter.name == "threshold" else "give a part of one"
        raise UsageError(f"{parameter.opts[0]} {value} is not within 0 and 1", remedy)
    return value


def _number(option: str, value: str, part: str, remedy: str) -> float:
    try:
        number = float(part)
    except ValueError:
        raise UsageError(f"{option} {value}: {part.strip() or 'nothing'!r} is no number", remedy) from None
    if not math.isfinite(number):
        raise UsageError(f"{option} {value}: {part.strip()} is no finite number", remedy)
    return number
