"""What a client asks about a picture: JSON that is not trusted, checked, then put to the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Literal

from sam3port.errors import UsageError
from sam3port.runtime.encoded import EncodedImage
from sam3port.serve.answers import clicked, found
from sam3port.serve.limits import Limits

Answer = dict[str, Any]
Question = Callable[[EncodedImage], Answer]
Form = Literal["rle", "png"]

_SEGMENT: Final = {
    "text", "texts", "boxes", "box_labels", "points", "point_labels", "threshold", "mask_threshold", "max_objects",
    "nms", "masks",
}  # fmt: skip
_CLICK: Final = {"points", "point_labels", "box", "multimask", "masks"}
_FORMS: Final[tuple[Form, ...]] = ("rle", "png")


def segment_question(body: bytes, limits: Limits) -> Question:
    """Of ``POST /v1/images/{id}/segment``.

    Raises:
        UsageError: it is no JSON object, or a part of it is unknown or of another kind. What only the picture or the
            model can tell is raised when the question is asked.
    """
    given = _object(body, _SEGMENT)
    texts = _texts(given, limits)
    boxes, points = _table(given, "boxes", 4), _table(given, "points", 2)
    box_labels, point_labels = _labels(given, "box_labels"), _labels(given, "point_labels")
    form, threshold, mask_threshold = (
        _form(given),
        _number(given, "threshold", 0.5),
        _number(given, "mask_threshold", 0.5),
    )
    nms, most = _number(given, "nms", None), given.get("max_objects")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
        raise UsageError(f"max_objects is {_short(most)}", "give a whole number, at least 1")

    def ask(image: EncodedImage) -> Answer:
        result = image.segment(
            text=texts or None,
            boxes=boxes,
            box_labels=box_labels,
            points=points,
            point_labels=point_labels,
            threshold=threshold,  # type: ignore[arg-type]  # None is refused there, in the same words as other values
            mask_threshold=mask_threshold,  # type: ignore[arg-type]
            max_objects=most,
            nms=nms,
        )
        return found(result, form)

    return ask


def click_question(body: bytes) -> Question:
    """Of ``POST /v1/images/{id}/click``; raises as `segment_question`."""
    given = _object(body, _CLICK)
    points, labels, form = _table(given, "points", 2), _labels(given, "point_labels"), _form(given)
    box = None if given.get("box") is None else _row(given["box"], "box", 4)
    # One point or box may mean a part or the whole; more say which, and one mask is the better answer.
    ambiguous = len(points or ()) + (box is not None) == 1
    multimask = given.get("multimask", ambiguous)
    if not isinstance(multimask, bool):
        raise UsageError(f"multimask is {_short(multimask)}", "give true or false")
    return lambda image: clicked(image.click(points, labels, box, multimask=multimask), form)


def _object(body: bytes, known: set[str]) -> dict[str, Any]:
    def no_number(text: str) -> Any:
        raise ValueError(f"{text} is no number of JSON")

    try:
        given = json.loads(body, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {str(error)[:200]}", 'send an object: {"text": "yellow bus"}') from None
    if not isinstance(given, dict):
        raise UsageError("the body is no JSON object", 'send one: {"text": "yellow bus"}')
    if unknown := sorted(given.keys() - known):
        raise UsageError(f"{_short(unknown[0])} is not known here", f"known are {', '.join(sorted(known))}")
    return given


def _texts(given: dict[str, Any], limits: Limits) -> list[str]:
    if given.get("text") is not None and given.get("texts") is not None:
        raise UsageError("text and texts are both given", "give one of them")
    texts = given.get("texts") if given.get("text") is None else [given["text"]]
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError("a text is no text", 'give "text": "yellow bus", or "texts": ["bus", "person"]')
    if len(texts) > limits.texts or any(len(text) > limits.text_characters for text in texts):
        most = f"{limits.texts} texts of {limits.text_characters} characters"
        raise UsageError("the texts are too many or too long", f"give at most {most}")
    return texts


def _table(given: dict[str, Any], name: str, columns: int) -> list[list[float]] | None:
    rows = given.get(name)
    if rows is None:
        return None
    if not isinstance(rows, list):
        raise UsageError(f"{name} is no list", f"give a list of lists of {columns} numbers")
    return [_row(row, name, columns) for row in rows]


def _row(row: Any, name: str, columns: int) -> list[float]:
    if isinstance(row, list) and len(row) == columns:
        numbers = [_as_float(value) for value in row]
        if None not in numbers:
            return numbers  # type: ignore[return-value]
    raise UsageError(f"{name} holds {_short(row)}", f"give {columns} numbers, pixels of the picture")


def _labels(given: dict[str, Any], name: str) -> list[bool] | None:
    labels = given.get(name)
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, bool) for label in labels)):
        raise UsageError(f"{name} is {_short(labels)}", "give true or false for each")
    return labels


def _number(given: dict[str, Any], name: str, default: float | None) -> float | None:
    value = given.get(name, default)
    if value is not None and (number := _as_float(value)) is None:
        raise UsageError(f"{name} is {_short(value)}", "give a number from 0 to 1")
    return None if value is None else number


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _form(given: dict[str, Any]) -> Form:
    form = given.get("masks", "rle")
    if form not in _FORMS:
        raise UsageError(f"masks is {_short(form)}", f"choose {' or '.join(_FORMS)}")
    chosen: Form = form
    return chosen


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
