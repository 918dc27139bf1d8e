"""A run of ``sam3port segment``: every picture encoded, asked, and its results written."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sam3port.cli.segment.images import Source
from sam3port.cli.segment.objects import Found, Outcome, found_in, objects
from sam3port.cli.segment.output import Coco, Output
from sam3port.cli.segment.prompts import Prompt
from sam3port.errors import Sam3PortError

if TYPE_CHECKING:
    from sam3port.runtime.model import Model


class Watcher(Protocol):
    """Is told what happens."""

    def began(self, source: Source) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...


def segment_all(
    model: Model, sources: Sequence[Source], prompt: Prompt, output: Output, watcher: Watcher
) -> tuple[list[Outcome], Path | None]:
    """Goes through the pictures; one that cannot be used does not keep the others from it.

    Args:
        model: opened.
        sources: the pictures.
        prompt: checked, and within the model's capacity.
        output: where files go.
        watcher: is told what happens.

    Returns:
        what became of each picture, and the file of annotations (None if no picture could be used).

    Raises:
        UsageError: results cannot be written. Those of earlier pictures, and their annotations, are there.
    """
    coco = Coco(prompt.text or "object")
    outcomes = []
    try:
        for source in sources:
            watcher.began(source)
            outcomes.append(_segment(model, source, prompt, output, coco))
            watcher.ended(outcomes[-1])
    except BaseException:  # interrupted, or the disk is full: what is there is described all the same
        with contextlib.suppress(Sam3PortError):
            _annotate(output, coco)
        raise
    return outcomes, _annotate(output, coco)


def _segment(model: Model, source: Source, prompt: Prompt, output: Output, coco: Coco) -> Outcome:
    outcome = Outcome(source)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = _find(model, source, prompt)
        except Sam3PortError as error:
            outcome.error = error
            return outcome
    outcome.notes = [str(warning.message) for warning in warned if warning.category is UserWarning]
    outcome.height, outcome.width = found.answer.pixels.shape[:2]
    outcome.files = output.write(source, found)
    outcome.objects = objects(coco.add(source, found))
    return outcome


def _find(model: Model, source: Source, prompt: Prompt) -> Found:
    if source.problem is not None:
        raise Sam3PortError(source.problem)
    try:
        return found_in(prompt.ask(model.encode_image(source.file)))
    except MemoryError:
        raise Sam3PortError(f"there is not enough memory for {source.file}", "make the picture smaller") from None
    except Sam3PortError as error:
        if str(source.file) in error.problem:
            raise
        raise Sam3PortError(f"{source.file}: {error.problem}", error.remedy) from error


def _annotate(output: Output, coco: Coco) -> Path | None:
    return output.write_annotations(coco.as_json()) if coco.images else None
