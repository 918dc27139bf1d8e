"""Pictures of what was found."""

from __future__ import annotations

import colorsys
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from sam3port.errors import UsageError
from sam3port.placing import replacing
from sam3port.runtime.masks.outline import core
from sam3port.runtime.masks.region import Masks, Region
from sam3port.runtime.picture import Pixels

_OPACITY: Final = round(0.45 * 255)
"""Of a mask's colour over the picture, of 255."""
_STRIP: Final = 2**18
"""Pixels of a mask at once: what fits a CPU's cache."""
_GOLDEN: Final = 0.618034
"""Steps of this part of a circle keep any number of hues apart."""
# A photograph hardly shrinks by more effort: level 1 takes 60 % of level 3's time for 4 % more bytes.
_QUALITY: Final = {"JPEG": {"quality": 92}, "WEBP": {"quality": 92}, "PNG": {"compress_level": 1}}
_LONGEST_LABEL: Final = 48

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


def overlay(
    pixels: Pixels,
    masks: Masks,
    labels: Sequence[str],
    boxes: ArrayLike | None = None,
    areas: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    legend: Sequence[str] = (),
) -> Image.Image:
    """The picture with translucent masks, their outlines, boxes and labels.

    Small objects are drawn over large ones. Labels are written in Pillow's own font, which has Latin letters only.

    Args:
        pixels: (height, width, 3) RGB uint8; stays as it is.
        masks: n of them, of that height and width.
        labels: n of them.
        boxes: (n, 4) x0, y0, x1, y1 in pixels; without them labels stand at the masks.
        areas: n numbers of pixels, if they are known: then each mask is made only once.
        groups: n numbers, not negative; objects of one number have one colour. Without them each has its own.
        legend: names of the groups 0, 1, ..., shown in the lower left corner with their colours.
    """
    height, width = pixels.shape[:2]
    line = max(1, round(min(height, width) / 320))
    image = Image.fromarray(pixels)
    if areas is None:
        areas = [masks[index].area for index in range(len(masks))]
    order = np.argsort([-area for area in areas], kind="stable").tolist()
    tints = [colour(index if groups is None else groups[index]) for index in range(len(masks))]
    corners: list[Box | None] = [None] * len(masks)
    for index in order:
        if region := masks[index]:
            corners[index] = (region.left, region.top, region.right, region.bottom)
            _paint(image, region, tints[index], line)
    artist = ImageDraw.Draw(image)
    if boxes is not None:
        corners = [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in np.asarray(boxes)]
        for index in order:
            artist.rectangle(_within(corners[index], width, height), outline=tints[index], width=line)
    if len(masks) or legend:
        plates = _Plates(artist, ImageFont.load_default(max(11.0, min(height, width) / 36)))
        plates.write_legend((name, colour(group)) for group, name in enumerate(legend))
        for index in order:
            if corners[index] is not None:
                plates.write(labels[index], _within(corners[index], width, height), tints[index])
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


def _paint(image: Image.Image, region: Region, tint: Colour, line: int) -> None:
    """Mask and outline, only where they are. What lies within `line` of the outside is outline."""
    height, width = region.inside.shape
    rows = max(line, _STRIP // width)
    for start in range(0, height, rows):
        end, first = min(start + rows, height), max(start - line, 0)
        inside = region.inside[first : end + line]
        strength = inside.view(np.uint8) * np.uint8(255)
        strength -= core(inside, line).view(np.uint8) * np.uint8(255 - _OPACITY)
        where = (region.left, region.top + start, region.right, region.top + end)
        image.paste(tint, where, Image.fromarray(strength[start - first : end - first]))


def _within(box: Sequence[float] | None, width: int, height: int) -> Box:
    """The part of a box that can be seen, its corners in order."""
    assert box is not None
    (x0, x1), (y0, y1) = (np.clip([box[i], box[i + 2]], 0, side - 1) for i, side in ((0, width), (1, height)))
    return float(x0), float(y0), float(max(x0, x1)), float(max(y0, y1))


class _Plates:
    """Labels on plates of their objects' colours, which lie beside each other as long as there is room."""

    def __init__(self, artist: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
        self._artist, self._font = artist, font
        self._margin = max(2, round(artist.textbbox((0, 0), "x", font)[3] / 5))
        self._taken: NDArray[np.float64] = np.zeros((0, 4))

    def write(self, label: str, box: Box, tint: Colour) -> None:
        """Above the box, or at the next place below that is free."""
        text, wide, high = self._sized(label)
        width, height = self._artist.im.size
        x = min(max(box[0], 0), max(width - wide, 0))
        above = max(box[1] - high, 0)
        steps = max(0, math.floor((height - 2 * high - above) / (high / 2)) + 1)
        places = above + np.arange(steps + 1) * (high / 2)
        x0, y0, x1, y1 = self._taken.T[:, :, None]
        overlapping = (x < x1) & (x0 < x + wide) & (places < y1) & (y0 < places + high)
        free = np.flatnonzero(~overlapping.any(0))
        self._put(text, x, float(places[free[0] if len(free) else -1]), wide, high, tint)

    def write_legend(self, entries: Iterable[tuple[str, Colour]]) -> None:
        """From the lower left corner upwards, the first one at the top."""
        height = self._artist.im.size[1]
        sized = [(*self._sized(name), tint) for name, tint in entries]
        y = height - sum(high for _, _, high, _ in sized)
        for text, wide, high, tint in sized:
            self._put(text, 0, max(y, 0), wide, high, tint)
            y += high

    def _sized(self, label: str) -> tuple[str, float, float]:
        text = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
        text = " ".join(text.split())
        left, top, right, bottom = self._artist.textbbox((0, 0), text, self._font)
        return text, right - left + 2 * self._margin, bottom - top + 2 * self._margin

    def _put(self, text: str, x: float, y: float, wide: float, high: float, tint: Colour) -> None:
        self._taken = np.append(self._taken, [[x, y, x + wide, y + high]], 0)
        left, top, _, _ = self._artist.textbbox((0, 0), text, self._font)
        self._artist.rectangle((x, y, x + wide - 1, y + high - 1), fill=tint)
        red, green, blue = tint
        dark = 0.299 * red + 0.587 * green + 0.114 * blue > 140
        place = (x + self._margin - left, y + self._margin - top)
        self._artist.text(place, text, fill="black" if dark else "white", font=self._font)
