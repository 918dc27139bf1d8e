"""Prompts of any number, padded to the capacity that a build has: arrays with masks that say what is padding.

Numpy only: this is also what a program that runs a built model needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact.interface import Arrays, Capacity
from sam3port.errors import UsageError

Flags = NDArray[np.bool_]


class HasMaskSize(Protocol):
    """A preset, or the sizes that a built model states."""

    @property
    def mask_size(self) -> int:
        """Side of the masks that the interactive decoder returns and takes."""


def _none(columns: int) -> NDArray[np.float32]:
    return np.zeros((0, columns), np.float32)


def _no_labels() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Geometry:
    """One prompt for the detector, besides its text."""

    points: NDArray[np.float32] = field(default_factory=lambda: _none(2))
    """(n, 2): x, y, 0..1 of the image."""
    point_labels: NDArray[np.int64] = field(default_factory=_no_labels)
    """(n,): 1 for what is wanted, 0 for what is not."""
    boxes: NDArray[np.float32] = field(default_factory=lambda: _none(4))
    """(m, 4): cxcywh, 0..1 of the image."""
    box_labels: NDArray[np.int64] = field(default_factory=_no_labels)


@dataclass(frozen=True)
class Clicks:
    """One prompt for the interactive predictor: one object."""

    points: NDArray[np.float32] = field(default_factory=lambda: _none(2))
    """(n, 2): x, y in pixels of the model's square image, as `SAM2Transforms.transform_coords` makes them."""
    labels: NDArray[np.int64] = field(default_factory=_no_labels)
    """(n,): 1 for the object, 0 for the rest; -1 is upstream's own "not a point", which is not the same as padding."""
    box: NDArray[np.float32] | None = None
    """(4,): x0, y0, x1, y1 in the same pixels."""
    mask: NDArray[np.float32] | None = None
    """(mask_size, mask_size): logits of an earlier result, clamped to -32..32 (sam1_task_predictor.py:426)."""


def pad_geometry(prompts: Sequence[Geometry], capacity: Capacity) -> Arrays:
    """The geometry encoder's inputs: sequence first, masks batch first, as upstream's `Prompt` holds them.

    Missing prompts of the batch become prompts without points and boxes.

    Returns:
        ``points`` (points, prompts, 2), ``point_labels`` (points, prompts), ``point_mask`` (prompts, points) and the
        same of ``boxes``.

    Raises:
        UsageError: more prompts, points or boxes than the capacity, or not as many labels as points or boxes.
    """
    _fits(len(prompts), capacity.prompts, "prompts")
    padded: dict[str, NDArray[Any]] = {}
    for what, columns, limit in (("point", 2, capacity.points), ("box", 4, capacity.boxes)):
        many = "boxes" if what == "box" else "points"
        values = np.zeros((limit, capacity.prompts, columns), np.float32)
        labels = np.zeros((limit, capacity.prompts), np.int64)
        mask = np.ones((capacity.prompts, limit), np.bool_)
        for index, prompt in enumerate(prompts):
            given, named = getattr(prompt, many), getattr(prompt, f"{what}_labels")
            _fits(len(given), limit, many)
            _labelled(len(given), len(named), many)
            values[: len(given), index] = given
            labels[: len(given), index] = named
            mask[index, : len(given)] = False
        padded |= {many: values, f"{what}_labels": labels, f"{what}_mask": mask}
    return padded


def click_length(capacity: Capacity) -> int:
    """The interactive predictor's points: two corners of a box, then clicks."""
    return capacity.points + 2


def pad_clicks(prompts: Sequence[Clicks], capacity: Capacity, sizes: HasMaskSize) -> Arrays:
    """The prompt encoder's inputs. A box becomes two points, labelled 2 and 3, ahead of the others, as upstream's
    predictor does it (sam1_task_predictor.py:387).

    Missing prompts of the batch become prompts without anything.

    Returns:
        ``clicks`` (prompts, points + 2, 2), ``click_labels`` and ``click_mask`` (prompts, points + 2), ``mask_input``
        (prompts, 1, mask_size, mask_size), ``has_mask_input`` (prompts,).

    Raises:
        UsageError: more prompts or points than the capacity, not as many labels as points, a mask of another size.
    """
    _fits(len(prompts), capacity.prompts, "prompts")
    length, side = click_length(capacity), sizes.mask_size
    points = np.zeros((capacity.prompts, length, 2), np.float32)
    labels = np.zeros((capacity.prompts, length), np.int64)
    padding = np.ones((capacity.prompts, length), np.bool_)
    mask = np.zeros((capacity.prompts, 1, side, side), np.float32)
    has_mask = np.zeros(capacity.prompts, np.bool_)
    for index, prompt in enumerate(prompts):
        _fits(len(prompt.points), capacity.points, "points")
        _labelled(len(prompt.points), len(prompt.labels), "points")
        corners = _none(2) if prompt.box is None else np.reshape(prompt.box, (2, 2))
        given = np.concatenate([corners, prompt.points])
        points[index, : len(given)] = given
        labels[index, : len(given)] = [*((2, 3) if len(corners) else ()), *prompt.labels]
        padding[index, : len(given)] = False
        if prompt.mask is not None:
            if prompt.mask.shape != (side, side):
                raise UsageError(
                    f"a mask prompt has the shape {prompt.mask.shape}, it must be ({side}, {side})",
                    "give the low-resolution logits of an earlier result",
                )
            mask[index, 0] = prompt.mask
            has_mask[index] = True
    return {
        "clicks": points,
        "click_labels": labels,
        "click_mask": padding,
        "mask_input": mask,
        "has_mask_input": has_mask,
    }


def pad_tokens(texts: NDArray[np.int64], capacity: Capacity) -> NDArray[np.int64]:
    """The text encoder's input from the tokens of some texts, (n, context). Missing texts are zeros: all padding.

    Raises:
        UsageError: more texts than the capacity has prompts.
    """
    _fits(len(texts), capacity.prompts, "prompts")
    missing = capacity.prompts - len(texts)
    return np.pad(texts.astype(np.int64), ((0, missing), (0, 0)))


def join(text_features: Any, text_mask: Any, geometry_features: Any, geometry_mask: Any) -> Arrays:
    """``prompt`` and ``prompt_mask``, as `Sam3Image._encode_prompt` puts them together (sam3_image.py:207)."""
    return {
        "prompt": np.concatenate([text_features, geometry_features], 0),
        "prompt_mask": np.concatenate([text_mask, geometry_mask], 1),
    }


def only(mask: NDArray[Any], column: int) -> Flags:
    """A padding mask of this shape in which nothing but one column is valid."""
    found = np.ones(mask.shape, np.bool_)
    found[:, column] = False
    return found


def _fits(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise UsageError(
            f"{count} {what} are more than the {limit} that this build takes",
            f"give fewer, or build with a larger capacity of {what}",
        )


def _labelled(count: int, labels: int, what: str) -> None:
    if count != labels:
        raise UsageError(f"{count} {what} have {labels} labels", "give one label for each")
