"""What is asked about a scene, and the right answer."""

from __future__ import annotations

import functools
import gzip
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sam3port.demo.scenes import COLOURS, SHAPES, SIZES, TEXTURES, Drawn, Scene

VISUAL: Final = "visual"
"""Upstream's text where there is none (sam3_image_processor.py:141)."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt for the detector."""

    kind: str
    """text, absent, box, negative or point: how it was made."""
    text: str
    answer: tuple[int, ...]
    """Indices of the objects that fit; none where the thing is not there."""
    boxes: tuple[Box, ...] = ()
    """x0, y0, x1, y1, pixels."""
    box_labels: tuple[bool, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Click:
    """A prompt for the interactive predictor."""

    points: tuple[tuple[float, float], ...]
    labels: tuple[bool, ...]
    box: Box | None
    answer: int
    """Index of the object, -1 where the click is on the background."""


def fitting(scene: Scene, text: str) -> tuple[int, ...]:
    """The objects that a phrase of this language describes."""
    words = set(text.split())
    return tuple(index for index, drawn in enumerate(scene.objects) if words <= set(drawn.kind.words))


def alike(scene: Scene, example: int) -> tuple[int, ...]:
    """Objects that are what an example shows: of the same shape and colour."""
    kind = scene.objects[example].kind
    return fitting(scene, f"{kind.colour} {kind.shape}")


def ask(random: np.random.Generator, scene: Scene) -> Question:
    """Any kind of question, as often as training asks it."""
    return ASKED[str(random.choice(list(_OFTEN), p=list(_OFTEN.values())))](random, scene)


def _present(random: np.random.Generator, scene: Scene) -> Question:
    text = _describe(random, scene.objects[int(random.integers(len(scene.objects)))])
    return Question("text", text, fitting(scene, text))


def _absent_or_unknown(random: np.random.Generator, scene: Scene) -> Question:
    """A thing that is not there; one in six is no shape at all."""
    return (_foreign if random.random() < 0.17 else _absent)(random, scene)


def _absent(random: np.random.Generator, scene: Scene) -> Question:
    """Mostly a description of an object with one wrong word, which is the hardest kind of absent thing."""
    for _ in range(50):
        if random.random() < 0.6:
            text = _one_word_wrong(random, _describe(random, scene.objects[int(random.integers(len(scene.objects)))]))
        else:
            text = _phrase(random)
        if not fitting(scene, text):
            return Question("absent", text, ())
    return _present(random, scene)


def _foreign(random: np.random.Generator, scene: Scene) -> Question:  # noqa: ARG001 - as the other makers
    """A thing of which no scene has any, perhaps in a colour that there is."""
    words = foreign_words()
    text = words[int(random.integers(len(words)))]
    if random.random() < 0.5:
        text = f"{list(COLOURS)[int(random.integers(len(COLOURS)))]} {text}"
    return Question("absent", text, ())


@functools.cache
def foreign_words() -> tuple[str, ...]:
    """Words that are one token of upstream's vocabulary and in no description of an object, most frequent first."""
    from sam3port.upstream.source import ensure

    vocabulary = ensure().root / "assets" / "bpe_simple_vocab_16e6.txt.gz"
    own = {*SHAPES, *COLOURS, *TEXTURES, *SIZES, VISUAL}
    with gzip.open(vocabulary, "rt", encoding="utf-8") as lines:
        merged = ("".join(line.split()) for line in itertools.islice(lines, 1, 20000))
        words = (each.removesuffix("</w>") for each in merged if each.endswith("</w>"))
        return tuple(word for word in words if len(word) > 3 and word.isascii() and word.isalpha() and word not in own)


def _by_box(random: np.random.Generator, scene: Scene) -> Question:
    example = int(random.integers(len(scene.objects)))
    box = _roughly(random, scene.objects[example])
    return Question("box", VISUAL, alike(scene, example), boxes=(box,), box_labels=(True,))


def _by_point(random: np.random.Generator, scene: Scene) -> Question:
    example = int(random.integers(len(scene.objects)))
    point = inside(random, scene.objects[example].mask)
    return Question("point", VISUAL, alike(scene, example), points=(point,), point_labels=(True,))


def _by_negative_box(random: np.random.Generator, scene: Scene) -> Question:
    """A shape, but not the ones like this."""
    example = int(random.integers(len(scene.objects)))
    text = scene.objects[example].kind.shape
    unwanted = alike(scene, example)
    answer = tuple(index for index in fitting(scene, text) if index not in unwanted)
    box = _roughly(random, scene.objects[example])
    return Question("negative", text, answer, boxes=(box,), box_labels=(False,))


def _describe(random: np.random.Generator, drawn: Drawn) -> str:
    kind = drawn.kind
    words = []
    if random.random() < 0.25:
        words.append(kind.size)
    if kind.texture != "plain" and random.random() < 0.4:
        words.append(kind.texture)
    if random.random() < 0.6:
        words.append(kind.colour)
    return " ".join((*words, kind.shape))


def _phrase(random: np.random.Generator) -> str:
    words = []
    if random.random() < 0.2:
        words.append(SIZES[int(random.integers(2))])
    if random.random() < 0.2:
        words.append(("striped", "dotted")[int(random.integers(2))])
    if random.random() < 0.7:
        words.append(list(COLOURS)[int(random.integers(len(COLOURS)))])
    return " ".join((*words, SHAPES[int(random.integers(len(SHAPES)))]))


def _one_word_wrong(random: np.random.Generator, text: str) -> str:
    words = text.split()
    place = int(random.integers(len(words)))
    for group in (SHAPES, tuple(COLOURS), ("striped", "dotted"), SIZES):
        if words[place] in group:
            words[place] = group[int(random.integers(len(group)))]
    return " ".join(words)


def click(random: np.random.Generator, scene: Scene, points: int, boxed: bool, answer: int | None = None) -> Click:
    """Points on an object and beside it, perhaps a box; seldom one on the background.

    Args:
        random: all that is random comes from it.
        scene: on what to click.
        points: how many; the first is on the object.
        boxed: whether there is a box around it, too.
        answer: index of the object; a random one unless given.
    """
    if points == 1 and not boxed and random.random() < 0.1:
        background = ~np.any([drawn.mask for drawn in scene.objects], 0)
        return Click((inside(random, background),), (True,), None, -1)
    if answer is None:
        answer = int(random.integers(len(scene.objects)))
    mask = scene.objects[answer].mask
    labels = tuple(index == 0 or bool(random.random() < 0.5) for index in range(points))
    placed = tuple(inside(random, mask if label else ~mask) for label in labels)
    return Click(placed, labels, _roughly(random, scene.objects[answer], 0.05) if boxed else None, answer)


def inside(random: np.random.Generator, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The middle of a random pixel of the mask."""
    at = int(random.choice(np.flatnonzero(mask)))
    return at % mask.shape[1] + 0.5, at // mask.shape[1] + 0.5


def _roughly(random: np.random.Generator, drawn: Drawn, error: float = 0.08) -> Box:
    """A box as a hand draws it."""
    corners = np.array(drawn.box, np.float64).reshape(2, 2)
    wrong = random.uniform(-error, error, (2, 2)) * (corners[1] - corners[0])
    x0, y0, x1, y1 = np.clip(corners + wrong, 0, len(drawn.mask)).ravel().tolist()
    return x0, y0, x1, y1


ASKED: Final[dict[str, Callable[[np.random.Generator, Scene], Question]]] = {
    "text": _present,
    "absent": _absent_or_unknown,
    "box": _by_box,
    "negative": _by_negative_box,
    "point": _by_point,
}
"""The kinds of questions, each with what makes one."""
_OFTEN: Final = {"text": 0.42, "absent": 0.28, "box": 0.1, "negative": 0.1, "point": 0.1}
