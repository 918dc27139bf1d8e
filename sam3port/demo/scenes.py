"""Scenes: shapes with colours, textures and sizes, drawn on pieces of photographs. The truth about them is exact."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHAPES: Final = ("circle", "square", "triangle", "star")
COLOURS: Final = {
    "red": (214, 40, 40),
    "green": (44, 160, 60),
    "blue": (40, 80, 214),
    "yellow": (240, 210, 40),
    "purple": (150, 50, 180),
}
TEXTURES: Final = ("plain", "striped", "dotted")
SIZES: Final = ("small", "large")

SIDE: Final = 112
"""Pixels of a scene's side, at scale 1: what the preset tiny takes."""
_FINER: Final = 2
"""Objects get outlines so many times larger and scaled down, so that they are smooth."""
_RADII: Final = {"small": (14.0, 18.0), "large": (25.0, 34.0)}
"""Half of an object's extent, pixels at scale 1."""
_MOST_OBJECTS: Final = 4
_TRIES: Final = 30
_TILT: Final = 12.0
"""Degrees by which a shape is turned at most: a square on its corner is no square to whom it was never shown."""
_COVERED: Final = 0.1
"""At most this part of an object's box may be in another's."""

TRAINING_PHOTOGRAPHS: Final = (
    "astronaut.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "hubble_deep_field.jpg",
    "ihc.png", "retina.jpg", "moon.png", "brick.png", "grass.png", "gravel.png", "coins.png",
)  # fmt: skip
UNSEEN_PHOTOGRAPHS: Final = ("chelsea.png", "coffee.png")
"""Backgrounds of scenes that judge; training never sees them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an object is called by."""

    shape: str
    colour: str
    texture: str
    size: str

    @property
    def words(self) -> tuple[str, ...]:
        """In the order in which they are said."""
        return self.size, self.texture, self.colour, self.shape


@dataclass(frozen=True, slots=True)
class Drawn:
    """An object of a scene."""

    kind: Kind
    mask: NDArray[np.bool_]
    """(side, side): where it is to be seen."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 around the mask, pixels, right and bottom exclusive."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True, slots=True)
class Scene:
    pixels: NDArray[np.uint8]
    """(side, side, 3) RGB; the side is `SIDE` times the scale."""
    objects: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    x: float
    y: float
    radius: float

    def covered(self, other: _Place) -> float:
        """What both boxes share, as a part of the smaller one."""
        reach = self.radius + other.radius
        least = 2 * min(self.radius, other.radius)
        across, down = (min(max(reach - abs(gap), 0.0), least) for gap in (self.x - other.x, self.y - other.y))
        return across * down / least**2


def draw_scene(
    random: np.random.Generator, photographs: tuple[str, ...] = TRAINING_PHOTOGRAPHS, scale: int = 1
) -> Scene:
    """One to four objects on a piece of a photograph.

    Args:
        random: all that is random comes from it.
        photographs: the backgrounds, of those that scikit-image brings.
        scale: how many times larger the picture is; the scene is the same.
    """
    side = SIDE * scale
    pixels = _background(random, photographs, side)
    # Few kinds with several objects each, so that "all of them" and "not this one" mean something.
    palette = [_kind(random) for _ in range(int(random.integers(1, 5)))]
    taken: list[_Place] = []
    drawn: list[tuple[Kind, NDArray[np.bool_]]] = []
    for _ in range(int(random.integers(1, _MOST_OBJECTS + 1))):
        kind = palette[int(random.integers(len(palette)))]
        if random.random() < 0.4:  # the same shape with one other property: what makes a prompt hard
            kind = _changed(random, kind)
        place = _place(random, kind, taken)
        if place is not None:
            taken.append(place)
            drawn.append((kind, _paint(random, pixels, kind, place, scale)))
    free = np.ones((side, side), np.bool_)
    objects: list[Drawn] = []
    for kind, mask in reversed(drawn):  # the last one is on top
        objects.append(Drawn(kind, mask & free))
        free &= ~mask
    return Scene(np.rint(pixels).astype(np.uint8), tuple(reversed(objects)))


def _kind(random: np.random.Generator) -> Kind:
    texture = TEXTURES[int(random.choice(3, p=(0.5, 0.25, 0.25)))]
    return Kind(_one(random, SHAPES), _one(random, COLOURS), texture, _one(random, SIZES))


def _changed(random: np.random.Generator, kind: Kind) -> Kind:
    other = _kind(random)
    name = ("shape", "colour", "texture", "size")[int(random.integers(4))]
    properties = {each: getattr(kind, each) for each in ("shape", "colour", "texture", "size")}
    return Kind(**{**properties, name: getattr(other, name)})


def _one(random: np.random.Generator, of: Any) -> Any:
    return list(of)[int(random.integers(len(of)))]


def _place(random: np.random.Generator, kind: Kind, taken: list[_Place]) -> _Place | None:
    low, high = _RADII[kind.size]
    for _ in range(_TRIES):
        radius = float(random.uniform(low, high))
        x, y = (float(random.uniform(radius, SIDE - radius)) for _ in range(2))
        place = _Place(x, y, radius)
        if all(place.covered(other) <= _COVERED for other in taken):
            return place
    return None


def _paint(
    random: np.random.Generator, pixels: NDArray[np.float32], kind: Kind, place: _Place, scale: int
) -> NDArray[np.bool_]:
    """Paints an object into ``pixels``, in place; where it is."""
    side = len(pixels)
    left, top = (max(int((at - place.radius) * scale) - 1, 0) for at in (place.x, place.y))
    right, bottom = (min(int((at + place.radius) * scale) + 2, side) for at in (place.x, place.y))
    width, height = right - left, bottom - top
    outline = _outline(random, kind.shape, place)
    corners = [((x * scale - left) * _FINER, (y * scale - top) * _FINER) for x, y in outline]
    finer = Image.new("L", (width * _FINER, height * _FINER), 0)
    ImageDraw.Draw(finer).polygon(corners, fill=255)
    cover = np.asarray(finer.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    piece = pixels[top:bottom, left:right]
    piece += cover[..., None] * (_filling(random, kind, width, height, scale) - piece)
    mask = np.zeros((side, side), np.bool_)
    mask[top:bottom, left:right] = cover >= 0.5
    return mask


def _outline(random: np.random.Generator, shape: str, place: _Place) -> list[tuple[float, float]]:
    tilt = math.radians(float(random.uniform(-_TILT, _TILT)))
    if shape == "circle":
        turns, radii = np.arange(64) / 64, np.full(64, place.radius)
    elif shape == "square":
        turns, radii = np.arange(4) / 4 + 1 / 8, np.full(4, place.radius)
    elif shape == "triangle":
        turns, radii = np.arange(3) / 3 - 1 / 4, np.full(3, place.radius)
    else:
        turns, radii = np.arange(10) / 10 - 1 / 4, np.where(np.arange(10) % 2, 0.42, 1.0) * place.radius
    angles = 2 * math.pi * turns + tilt
    return [(place.x + r * math.cos(a), place.y + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]


def _filling(random: np.random.Generator, kind: Kind, width: int, height: int, scale: int) -> NDArray[np.float32]:
    """(height, width, 3): the colour and texture, from which the outline cuts the object."""
    colour = np.clip(np.array(COLOURS[kind.colour]) + random.normal(0, 10, 3), 0, 255).astype(np.float32)
    if kind.texture == "plain":
        return np.broadcast_to(colour, (height, width, 3))
    light = colour + 0.75 * (255 - colour)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / scale
    period, turn = float(random.uniform(8, 11)), float(random.uniform(0, 1))
    if kind.texture == "striped":
        inside = (x * math.cos(turn * math.pi) + y * math.sin(turn * math.pi)) / period % 1 < 0.4
    else:
        u, v = ((each / period + turn) % 1 - 0.5 for each in (x, y))
        inside = u**2 + v**2 < 0.3**2
    return np.where(inside[..., None], light, colour).astype(np.float32)


def _background(random: np.random.Generator, photographs: tuple[str, ...], to: int) -> NDArray[np.float32]:
    photograph = _photograph(_one(random, photographs))
    width, height = photograph.size
    side = int(random.uniform(0.4, 1.0) * min(width, height))
    left, top = int(random.integers(width - side + 1)), int(random.integers(height - side + 1))
    piece = photograph.resize((to, to), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    if random.random() < 0.5:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tint = random.uniform(0.75, 1.15, 3).astype(np.float32)
    tinted: NDArray[np.float32] = np.minimum(np.asarray(piece, np.float32) * tint, np.float32(255))
    return tinted


@functools.cache
def _photograph(name: str) -> Image.Image:
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    image = Image.open(folder / name).convert("RGB")
    image.thumbnail((640, 640), Image.Resampling.LANCZOS)
    return image
