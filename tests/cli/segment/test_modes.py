"""Other questions than which objects fit a text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle

import sam3port
from sam3port.runtime.everything import Grid
from sam3port.runtime.result import Result
from tests.cli.segment.segmenting import Segment, photographs, segment

__all__ = ["photographs", "segment"]

BOXES = [(50.0, 40.0, 200.0, 250.0), (10.0, 10.0, 60.0, 80.0)]


def test_they_give_what_the_library_gives(
    segment: Segment, photographs: Path, tiny_artifact: Path, tmp_path: Path
) -> None:
    picture = photographs / "cat.jpg"
    model = sam3port.load(tiny_artifact)
    image = model.encode_image(picture)
    grid = (
        "--points-per-side",
        "3",
        "--pred-iou-thresh",
        "0.1",
        "--stability-score-thresh",
        "0.2",
        "--box-nms-thresh",
        "1",
    )
    boxes = [word for box in BOXES for word in ("--box", ",".join(map(str, box)))]
    tiles = ("--tile", "200", "--overlap", "50", "--threshold", "0.4", "--text", "cat", "--text", "dog")
    shown = model.encode_image(photographs / "astronaut.png").exemplar(boxes=BOXES)
    like = ("--like", str(photographs / "astronaut.png"), *boxes, "--threshold", "0.3")
    for words, expected in (
        (like, image.segment(like=shown, threshold=0.3)),
        (("--everything", *grid), image.everything(Grid(3, 0.1, 0.2, box_nms_thresh=1))),
        (("--each-box", *boxes), image.segment_boxes(BOXES)),
        (("--semantic", "--text", "cat", "--text", "dog"), image.semantic(["cat", "dog"])),
        (tiles, model.segment_large(picture, ["cat", "dog"], 200, 50, threshold=0.4)),
    ):
        out = tmp_path / words[0].strip("-")
        ran = segment(picture, *words, "--out", out, "--json")
        assert ran.status == 0, words
        content = json.loads((out / "annotations.json").read_bytes())["annotations"]
        compare(content, expected)


def compare(annotations: list[dict[str, object]], expected: Result) -> None:
    there = expected.masks.any((1, 2))
    order = np.argsort(-expected.scores[there], kind="stable")
    assert len(annotations) == len(order) > 1
    masks = [rle.decode(annotation["segmentation"]) for annotation in annotations]
    np.testing.assert_array_equal(masks, expected.masks[there][order])
    assert [annotation["category_id"] for annotation in annotations] == (expected.asked[there][order] + 1).tolist()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--everything", "--text", "cat"), "--everything is not told what to look for"),
        (("--everything", "--click"), "--click and --everything exclude each other"),
        (("--everything", "--threshold", "0.5"), "--everything does not go with --threshold"),
        (("--everything", "--mask-threshold", "0.6"), "--everything does not go with --mask-threshold"),
        (("--semantic", "--text", "cat", "--max-objects", "1"), "--semantic does not go with --max-objects"),
        (("--text", "cat", "--points-per-side", "3"), "--points-per-side belongs to --everything"),
        (("--everything", "--box-nms-thresh", "3"), "--box-nms-thresh 3.0 is not within 0 and 1"),
        (("--semantic",), "there is nothing to look for"),
        (("--semantic", "--text", "cat", "--point", "1,2"), "--semantic takes texts only"),
        (("--each-box",), "there is nothing to look for"),
        (("--each-box", "--box", "1,2,3,4:-"), "--each-box takes nothing but"),
        (("--each-box", "--box", "1,2,3,4", "--nms", "0.5"), "--each-box does not go with --nms"),
        (("--tile", "100", "--box", "1,2,3,4"), "--tile takes texts only"),
        (("--text", "cat", "--like", "photo.jpg"), "--like names the picture that --box and --point are in"),
        (("--click", "--point", "1,2", "--like", "photo.jpg"), "--like names the picture"),
        (("--box", "1,2,3,4", "--like", "photo.jpg", "--ray"), "--ray does not go with --like"),
        (("--text", "cat", "--overlap", "10"), "--overlap belongs to --tile"),
        (("--text", "cat", "--tile", "100", "--features", "kept"), "--features keeps those of whole pictures"),
    ],
)
def test_what_makes_no_sense_is_said(segment: Segment, tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    ran = segment("absent.jpg", *words, "--artifact", tmp_path / "absent", "--out", tmp_path / "out")
    assert ran.status == 2
    assert complaint in ran.err
    assert not (tmp_path / "out").exists()


def test_an_overlap_of_the_whole_tile(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    ran = segment(
        photographs / "cat.jpg", "--text", "cat", "--tile", "100", "--overlap", "100", "--out", tmp_path / "out"
    )
    assert ran.status == 2
    assert "cannot overlap" in ran.err
