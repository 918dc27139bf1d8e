"""A picture whose values are the numbers of objects: 0 where there is none."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sam3port.cli.segment.described import Described
from sam3port.runtime.draw import colour

_PALETTE = 256


def label_map(picture: Described) -> Image.Image:
    """The number of an object is its place in the picture's list, from 1; small objects lie over large ones.

    Eight bits with a palette for up to 255 objects, else sixteen bits.
    """
    many = len(picture.objects) >= _PALETTE
    values = np.zeros((picture.height, picture.width), np.uint16 if many else np.uint8)
    for number, thing in sorted(enumerate(picture.objects, 1), key=lambda each: -each[1].area):
        region = thing.region
        values[region.top : region.bottom, region.left : region.right][region.inside] = number
    image = Image.fromarray(values)
    if not many:
        image.putpalette([0, 0, 0, *(value for index in range(_PALETTE - 1) for value in colour(index))])
    return image
