"""`Segmenter` by itself: any batch that Ray Data makes, any picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sam3port.batch import Segmenter
from sam3port.batch.schema import FOUND
from sam3port.errors import UsageError
from sam3port.runtime.model import Model

TEXTS = ["yellow bus", "person"]


@pytest.fixture(scope="module")
def segmenter(tiny_artifact: Path) -> Segmenter:
    return Segmenter(tiny_artifact, TEXTS, threshold=0.3, threads=1)


def pixels(seed: int, width: int = 60, height: int = 40) -> Any:
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed)).save(stream, "PNG")
    return stream.getvalue()


def test_every_form_of_a_batch_gives_the_same(segmenter: Segmenter) -> None:
    contents = [png(0), png(1)]
    arrays = np.stack([pixels(0), pixels(1)])
    from_table = segmenter(pa.table({"path": ["a", "b"], "bytes": contents}))
    expected = from_table.to_pylist()
    assert from_table.column_names == ["path", *FOUND.names]
    assert all(row["objects"] and row["error"] is None for row in expected)
    assert segmenter({"path": np.array(["a", "b"]), "bytes": np.array(contents, object)}).to_pylist() == expected
    assert segmenter({"path": np.array(["a", "b"]), "image": arrays}).to_pylist() == expected
    found = segmenter.model.encode_image(pixels(0)).segment(TEXTS, threshold=0.3)
    order = sorted((index for index in range(len(found)) if found.regions[index]), key=lambda i: -found.scores[i])
    assert [each["score"] for each in expected[0]["objects"]] == [float(found.scores[index]) for index in order]
    assert [each["rle"] for each in expected[0]["objects"]] == [found.rle[index]["counts"] for index in order]
    assert [each["text"] for each in expected[0]["objects"]] == [found.names[index] for index in order]


def test_what_cannot_be_used_is_a_row(segmenter: Segmenter) -> None:
    whole = png(0)
    batch = {"path": ["whole", "cut", "none", "empty"], "bytes": [whole, whole[:60], b"text", b""], "tag": [1, 2, 3, 4]}
    rows = segmenter(batch).to_pylist()
    assert [row["tag"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["error"] is None and (rows[0]["width"], rows[0]["height"]) == (60, 40)
    assert rows[1]["error"].startswith("cut is damaged")
    assert rows[2]["error"] == "none is no picture that Pillow can read"
    assert rows[3]["error"] == "empty is empty"
    assert all(row["objects"] == [] and row["width"] is None for row in rows[1:])


def test_what_warns_is_noted(segmenter: Segmenter) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 30), 1023, np.uint16)).save(stream, "TIFF")
    (row,) = segmenter({"path": ["dark.tif"], "bytes": [stream.getvalue()]}).to_pylist()
    assert any("dark.tif: its values of 16 bits end at 1023" in note for note in row["notes"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, picture: model.encode_image(picture).click([(30, 20)]),
        lambda model, picture: model.encode_image(picture).semantic("sky"),
        lambda model, picture: model.segment_large(picture, "car", 32, 8, threshold=0.3),
    ],
    ids=["click", "semantic", "tiles"],
)
def test_anything_can_be_asked(ask: Callable[[Model, Any], Any], tiny_artifact: Path) -> None:
    (row,) = Segmenter(tiny_artifact, ask=ask, threads=1)({"bytes": [png(0)]}).to_pylist()
    assert row["error"] is None
    assert all(thing["category"] == 1 and thing["rle"] for thing in row["objects"])


def test_wrong_use(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of content, bytes, image"):
        segmenter({"path": ["a"]})
    with pytest.raises(UsageError, match="not both"):
        Segmenter(tmp_path)
    with pytest.raises(UsageError, match="is no artifact"):
        Segmenter(tmp_path, "bus")
