"""What both sides are shown: files, so that reading them is compared, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

from sam3port.errors import UsageError

_TURNED: Final = 6
"""EXIF orientation of a camera held upright: viewers turn what is stored by 90 degrees clockwise."""
_ORIENTATION: Final = 0x0112
_COLOURS: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Modes whose way to RGB is Pillow's alone: upstream gets what ``convert("RGB")`` gives."""

Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture on the disk."""

    name: str
    file: Path
    text: str
    """What is to be seen in it."""
    width: int
    """Pixels as it is shown, after EXIF orientation."""
    height: int


@dataclass(frozen=True, slots=True)
class _Scene:
    name: str
    picture: str
    """Which of scikit-image's."""
    text: str
    change: Change = lambda image: image
    turned: bool = False
    """Stored lying on its side as JPEG, with the orientation that puts it upright."""


def _of_size(width: int, height: int) -> Change:
    return lambda image: image.resize((width, height), Image.Resampling.LANCZOS)


SCENES: Final = (
    _Scene("coffee", "coffee", "a cup"),
    _Scene("cat-turned", "chelsea", "a cat", turned=True),
    _Scene("camera-grey", "camera", "a man with a camera"),
    _Scene("astronaut", "astronaut", "a person"),
    _Scene("coffee-1800x1200", "coffee", "a red spoon", _of_size(1800, 1200)),
    _Scene("rocket-portrait", "rocket", "a rocket", lambda image: image.crop((230, 0, 430, 427))),
    _Scene("rocket-panorama", "rocket", "a tower", lambda image: image.crop((0, 260, 640, 350))),
    _Scene("cat-24x16", "chelsea", "a cat's eye", _of_size(24, 16)),
)
"""In the order of their worth: where the model is large, the first few are taken."""


def own_photographs(folder: Path, most: int | None = None) -> list[Photograph]:
    """Writes scikit-image's photographs, cut, scaled and turned, into ``folder``: at most so many."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_written(scene, folder) for scene in SCENES[:most]]


def own_photograph(name: str, folder: Path) -> Photograph:
    """Writes the one of `SCENES` that has this name into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return next(_written(scene, folder) for scene in SCENES if scene.name == name)


def photograph_of(file: Path) -> Photograph:
    """A user's picture.

    Raises:
        UsageError: it cannot be read, or has more than 8 bits a value (upstream takes 8).
    """
    return _described(file, file.name, "an object")


def photographs_in(folder: Path, most: int | None = None) -> list[Photograph]:
    """The pictures of a user's folder in the order of their names, at most so many.

    Raises:
        UsageError: there is none, or one cannot be read or has more than 8 bits a value (upstream takes 8).
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give a folder of photographs")
    known = Image.registered_extensions()
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in known and file.is_file())
    if not files:
        raise UsageError(f"{folder} holds no pictures", "give a folder of photographs")
    return [photograph_of(file) for file in files[:most]]


def upright(file: Path) -> Image.Image:
    """The picture as people see it, RGB."""
    from PIL import ImageOps

    with Image.open(file) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _written(scene: _Scene, folder: Path) -> Photograph:
    import skimage.data

    load: Callable[[], Any] = getattr(skimage.data, scene.picture)
    image = scene.change(Image.fromarray(load()))
    file = folder / f"{scene.name}.{'jpg' if scene.turned else 'png'}"
    if scene.turned:
        exif = Image.Exif()
        exif[_ORIENTATION] = _TURNED
        image.transpose(Image.Transpose.ROTATE_90).save(file, quality=92, exif=exif)
    else:
        image.save(file)
    return _described(file, scene.name, scene.text)


def _described(file: Path, name: str, text: str) -> Photograph:
    try:
        with Image.open(file) as image:
            mode = image.mode
        shown = upright(file)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"{file} cannot be read: {error}", "leave it out") from error
    if mode not in _COLOURS:
        raise UsageError(f"{file} has the mode {mode}, upstream takes 8 bits a value", "leave it out, or convert it")
    return Photograph(name, file, text, *shown.size)
