"""`Segmenter`: what is asked of every picture of a batch, by an artifact that is opened once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from sam3port.batch.schema import FOUND
from sam3port.errors import Sam3PortError, UsageError
from sam3port.runtime import picture as pictures
from sam3port.runtime.model import Model, load
from sam3port.runtime.picture import Pixels
from sam3port.runtime.result import Clicked, Result, coco_annotations

Ask = Callable[[Model, Pixels], Result | Clicked]
"""What is asked of a picture: by an opened artifact and (height, width, 3) RGB uint8."""
_NAMES: Final = ("picture", "path")
_PICTURES: Final = ("content", "bytes", "image")
_NO_PICTURE: Final = "the picture"


class Segmenter:
    """Finds what is asked for in batches of pictures: for ``ray.data.Dataset.map_batches``, and for calls by hand.

    A picture that cannot be used is a row with an ``error``; it keeps no other from being segmented.
    """

    def __init__(
        self,
        artifact: str | os.PathLike[str],
        text: str | Sequence[str] | None = None,
        *,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        max_objects: int | None = None,
        nms: float | None = None,
        ask: Ask | None = None,
        threads: int | None = None,
    ) -> None:
        """Opens the artifact.

        Args:
            artifact: the folder, on the machine that this runs on.
            text: what to look for, as of `sam3port.runtime.encoded.EncodedImage.segment`, as are ``threshold`` and what
                follows.
            ask: anything else that is to be asked, in place of ``text``.
            threads: of the CPU; give Ray the same number as ``num_cpus``. All that there are unless given.

        Raises:
            UsageError: there is no text and nothing to ask, or both; the artifact cannot be opened.
        """
        if (text is None) == (ask is None):
            raise UsageError("there has to be a text, or something to ask, and not both", 'give text="yellow bus"')
        chosen = {"mask_threshold": mask_threshold, "max_objects": max_objects, "nms": nms}

        def find(model: Model, pixels: Pixels) -> Result:
            return model.encode_image(pixels).segment(text, threshold=threshold, **chosen)  # type: ignore[arg-type]

        self._ask = ask or find
        self.model = load(artifact, threads)

    def __call__(self, batch: Mapping[str, Any] | pa.Table) -> pa.Table:
        """Segments a batch.

        Args:
            batch: columns by name, of any batch format of Ray Data, or a pyarrow table. ``bytes`` or ``content`` holds
                pictures' files, as ``ray.data.read_binary_files`` reads them, or ``image`` holds arrays (height, width,
                channels) of uint8, as ``ray.data.read_images``. ``path`` or ``picture`` names them in errors. With
                ``problem``, a picture that has one is an error without being looked at.

        Returns:
            The other columns of the batch, then those of `sam3port.batch.schema.FOUND`.

        Raises:
            UsageError: there are no pictures in the batch.
        """
        column = next((name for name in _PICTURES if name in _columns(batch)), None)
        if column is None:
            raise UsageError(
                f"the batch has the columns {', '.join(_columns(batch))}, and none of {', '.join(_PICTURES)}",
                "read pictures with ray.data.read_binary_files(folder, include_paths=True)",
            )
        names = next((_values(batch, name) for name in _NAMES if name in _columns(batch)), None)
        problems = _values(batch, "problem") if "problem" in _columns(batch) else None
        rows = []
        for content in _values(batch, column):
            name = _NO_PICTURE if names is None else str(next(names))
            problem = None if problems is None else next(problems)
            rows.append(_failed(problem) if problem is not None else self._row(content, name))
        kept = {name: _array(batch, name) for name in _columns(batch) if name not in (column, "problem")}
        found = pa.Table.from_pylist(rows, schema=FOUND)
        return pa.table(kept | dict(zip(FOUND.names, found.columns, strict=True)))

    def _row(self, content: Any, name: str) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                row = self._found(content, name)
            except MemoryError:
                row = _failed(f"there is not enough memory for {name}")
            except Sam3PortError as error:
                row = _failed(error.problem if name in error.problem else f"{name}: {error.problem}")
        row["notes"] += [str(warning.message) for warning in warned if warning.category is UserWarning]
        return row

    def _found(self, content: Any, name: str) -> dict[str, Any]:
        held = isinstance(content, (bytes, memoryview, bytearray))
        pixels = pictures.read_content(bytes(content), name) if held else pictures.read(np.asarray(content))
        answer = self._ask(self.model, pixels)
        names = getattr(answer, "texts", ()) or ("object",)
        objects = [_object(each, names) for each in _annotations(answer)]
        objects.sort(key=lambda each: -each["score"])
        empty = (len(answer) if isinstance(answer, Result) else 1) - len(objects)
        notes = [f"{name}: objects without a pixel above the mask threshold, left out: {empty}"] if empty else []
        height, width = pixels.shape[:2]
        best_below = getattr(answer, "best_below", None)
        found = {"objects": objects, "best_below": best_below, "notes": notes, "error": None}
        return {"width": width, "height": height, **found}


def _annotations(answer: Result | Clicked) -> list[dict[str, Any]]:
    """COCO's, of those with pixels; of a click the best one."""
    if isinstance(answer, Result):
        return answer.to_coco()
    best = [answer.best]
    return coco_annotations(answer.regions.take(best), None, answer.scores[best], 1, 1)


def _object(annotation: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    category = annotation["category_id"]
    return {
        "category": category,
        "text": names[category - 1],
        "score": annotation["score"],
        "box": annotation["bbox"],
        "area": annotation["area"],
        "rle": annotation["segmentation"]["counts"],
    }


def _failed(problem: str) -> dict[str, Any]:
    return {"width": None, "height": None, "objects": [], "best_below": None, "notes": [], "error": problem}


def _columns(batch: Mapping[str, Any] | pa.Table) -> list[str]:
    return list(batch.column_names if isinstance(batch, pa.Table) else batch)


def _values(batch: Mapping[str, Any] | pa.Table, name: str) -> Iterator[Any]:
    """One after the other: a picture's file is copied only while it is looked at."""
    column = batch[name]
    if isinstance(column, pa.ChunkedArray):
        return (value.as_py() for value in column)
    return iter(column)


def _array(batch: Mapping[str, Any] | pa.Table, name: str) -> Any:
    column = batch[name]
    return column if isinstance(column, pa.ChunkedArray) else pa.array(list(column))
