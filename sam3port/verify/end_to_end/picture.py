"""One picture of both sides: what upstream found, what the artifact found, and where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sam3port.placing import replacing
from sam3port.runtime.draw import overlay
from sam3port.runtime.masks.region import known
from sam3port.verify.end_to_end.found import Found, telling
from sam3port.verify.end_to_end.photographs import Photograph, upright
from sam3port.verify.end_to_end.prompts import Kind, Prompt

_WIDTH: Final = 480
"""Of each of the pictures side by side, pixels."""
_MARGIN: Final = 8
_TITLE: Final = 28

Answer = tuple[Photograph, Prompt, Found, Found]
"""The photograph, the prompt, upstream's and the artifact's answer."""


def draw(answers: list[Answer], file: Path) -> None:
    """A row for each answer: upstream's, the artifact's, and the pixels that are in one side's masks only.

    Args:
        answers: at least one.
        file: a JPEG, whole or not at all.
    """
    rows = [_row(*answer) for answer in answers]
    height = sum(row.height + _MARGIN for row in rows) + _MARGIN
    sheet = Image.new("RGB", (rows[0].width + 2 * _MARGIN, height), "white")
    top = _MARGIN
    for row in rows:
        sheet.paste(row, (_MARGIN, top))
        top += row.height + _MARGIN
    with replacing(file) as stream:
        sheet.save(stream, format="JPEG", quality=90)


def _row(photograph: Photograph, prompt: Prompt, theirs: Found, ours: Found) -> Image.Image:
    image = upright(photograph.file)
    pixels = np.asarray(image)
    apart = _differing(theirs, ours)
    titled = (
        (f"{photograph.name}, {prompt.name}: upstream (PyTorch)", _drawn(pixels, prompt, theirs)),
        ("sam3port (TVM)", _drawn(pixels, prompt, ours)),
        (f"pixels that differ: {int(apart.sum())}", Image.fromarray(_marked(pixels, apart))),
    )
    height = max(1, round(image.height * _WIDTH / image.width))
    row = Image.new("RGB", (3 * _WIDTH + 2 * _MARGIN, height + _TITLE), "white")
    artist, font = ImageDraw.Draw(row), ImageFont.load_default(16)
    for index, (title, drawn) in enumerate(titled):
        left = index * (_WIDTH + _MARGIN)
        artist.text((left, 4), title, fill="black", font=font)
        row.paste(drawn.resize((_WIDTH, height), Image.Resampling.LANCZOS), (left, _TITLE))
    return row


def _drawn(pixels: NDArray[np.uint8], prompt: Prompt, found: Found) -> Image.Image:
    # Of a click all masks are of one object: the best of those that show something.
    which = list(range(len(found.scores)))
    if prompt.kind is Kind.CLICK:
        which = [int(np.argmax(found.scores + telling(found.masks)))]
    labels = [f"{found.queries[i]}: {found.scores[i]:.4f}" for i in which]
    boxes = found.boxes[which] if len(found.boxes) else None
    return overlay(pixels, known(found.masks[which]), labels, boxes)


def _differing(theirs: Found, ours: Found) -> NDArray[np.bool_]:
    """(height, width): pixels in a mask of one side that are not in the same query's mask of the other."""
    apart = np.zeros(theirs.masks.shape[1:], np.bool_)
    if ours.masks.shape[1:] != apart.shape:
        return ~apart
    for query in np.union1d(theirs.queries, ours.queries):
        a, b = (side.masks[side.queries == query].any(0) for side in (theirs, ours))
        apart |= a != b
    return apart


def _marked(pixels: NDArray[np.uint8], apart: NDArray[np.bool_]) -> NDArray[np.uint8]:
    faint = (pixels // 3 + 170).astype(np.uint8)
    faint[apart] = (220, 0, 60)
    return faint
