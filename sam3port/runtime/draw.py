"""Pictures of what was found."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from sam3port.errors import UsageError
from sam3port.runtime.files import replacing
from sam3port.runtime.picture import Pixels

_OPACITY: Final = 0.45
"""Of a mask's colour over the picture."""
_GOLDEN: Final = 0.618034
"""Steps of this part of a circle keep any number of hues apart."""
_QUALITY: Final = {"JPEG": {"quality": 92}, "WEBP": {"quality": 92}, "PNG": {"compress_level": 3}}
_LONGEST_LABEL: Final = 48

Colour = tuple[int, int, int]


def overlay(
    pixels: Pixels, masks: NDArray[np.bool_], labels: Sequence[str], boxes: ArrayLike | None = None
) -> Image.Image:
    """The picture with translucent masks, their outlines, boxes and labels, one colour for each object.

    Small objects are drawn over large ones. Labels are written in Pillow's own font, which has Latin letters only.

    Args:
        pixels: (height, width, 3) RGB uint8; stays as it is.
        masks: (n, height, width) bool.
        labels: n of them.
        boxes: (n, 4) x0, y0, x1, y1 in pixels; without them labels stand at the masks.
    """
    height, width = pixels.shape[:2]
    line = max(1, round(min(height, width) / 320))
    painted = pixels.copy()
    order = np.argsort([-int(mask.sum()) for mask in masks], kind="stable")
    for index in order:
        _paint(painted, masks[index], colour(int(index)), line)
    image = Image.fromarray(painted)
    artist = ImageDraw.Draw(image)
    corners = [None] * len(masks) if boxes is None else [tuple(map(float, box)) for box in np.asarray(boxes)]
    for index in order:
        if (box := corners[index]) is not None:
            artist.rectangle(_within(box, width, height), outline=colour(int(index)), width=line)
    taken: list[tuple[float, float, float, float]] = []
    font = ImageFont.load_default(max(11.0, min(height, width) / 36))
    for index in order:
        box = corners[index] or extent(masks[index])
        if box is not None:
            _write(artist, font, labels[index], _within(box, width, height), colour(int(index)), taken)
    return image


def save(file: str | os.PathLike[str], image: Image.Image) -> None:
    """Writes a picture aside and renames it; the suffix says the format.

    Raises:
        UsageError: Pillow cannot write that format, or the file cannot be written.
    """
    target = Path(file)
    format_ = Image.registered_extensions().get(target.suffix.lower())
    if format_ not in Image.SAVE:
        raise UsageError(f"{target} has no suffix of a picture that can be written", "name it .png or .jpg")
    with replacing(target) as stream:
        try:
            image.save(stream, format_, **_QUALITY.get(format_, {}))
        except (ValueError, KeyError) as error:  # a format that has no colours, or no such size
            raise UsageError(f"{target} cannot be written as {format_}: {error}", "name it .png or .jpg") from None


def colour(index: int) -> Colour:
    """Of the object with this index: vivid, and unlike its neighbours'."""
    hue = (0.58 + index * _GOLDEN) % 1
    lightness, saturation = (0.55, 0.95) if index % 2 == 0 else (0.62, 0.85)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def _paint(pixels: Pixels, mask: NDArray[np.bool_], tint: Colour, line: int) -> None:
    """Mask and outline, only where they are."""
    corners = extent(mask)
    if corners is None:
        return
    left, top, right, bottom = corners
    part, inside = pixels[top:bottom, left:right], mask[top:bottom, left:right]
    solid = np.array(tint, np.float32)
    part[inside] = np.rint(part[inside] * np.float32(1 - _OPACITY) + solid * np.float32(_OPACITY))
    # What lies within `line` of the outside is outline; the picture's border counts as outside.
    framed = Image.fromarray(np.pad(inside, line).astype(np.uint8) * 255)
    core = np.asarray(framed.filter(ImageFilter.MinFilter(2 * line + 1)))[line:-line, line:-line] > 0
    part[inside & ~core] = tint


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """left, top, right, bottom (exclusive) of a mask; None if it is empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _within(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a box that can be seen, its corners in order."""
    (x0, x1), (y0, y1) = (np.clip([box[i], box[i + 2]], 0, side - 1) for i, side in ((0, width), (1, height)))
    return float(x0), float(y0), float(max(x0, x1)), float(max(y0, y1))


def _write(
    artist: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    label: str,
    box: tuple[float, float, float, float],
    tint: Colour,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """A label on a plate of the object's colour, above the box or at the next place below that is free."""
    text = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    text = " ".join(text.split())
    margin = max(2, round(artist.textbbox((0, 0), "x", font)[3] / 5))
    left, top, right, bottom = artist.textbbox((0, 0), text, font)
    wide, high = right - left + 2 * margin, bottom - top + 2 * margin
    width, height = artist.im.size
    x = min(max(box[0], 0), max(width - wide, 0))
    y = max(box[1] - high, 0)
    while any(_overlap((x, y, x + wide, y + high), other) for other in taken) and y + 2 * high <= height:
        y += high / 2
    taken.append((x, y, x + wide, y + high))
    artist.rectangle((x, y, x + wide - 1, y + high - 1), fill=tint)
    red, green, blue = tint
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    artist.text((x + margin - left, y + margin - top), text, fill="black" if dark else "white", font=font)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
