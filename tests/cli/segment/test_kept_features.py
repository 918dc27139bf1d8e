"""``sam3port segment --features``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.segment.segmenting import Segment, photographs, segment

__all__ = ["photographs", "segment"]


def test_the_second_run_encodes_nothing_and_finds_the_same(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    asked = (photographs, "--text", "cat", "--threshold", "0.4", "--json", "--mask-format", "rle")
    runs = [segment(*asked, "--features", kept, "--out", tmp_path / "first")]
    assert len(list(kept.iterdir())) == 3
    damaged = min(kept.iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    runs.append(segment(*asked, "--features", kept, "--out", tmp_path / "second"))
    runs.append(segment(*asked, "--features", kept, "--out", tmp_path / "third"))
    runs.append(segment(*asked, "--out", tmp_path / "fourth"))
    assert [run.status for run in runs] == [0] * 4
    known = [[image["features_known"] for image in run.json["images"]] for run in runs]
    assert [sum(each) for each in known] == [0, 2, 3, 0], "the damaged one is computed again, and kept"
    assert all(("encoding" in image["seconds"]) != image["features_known"] for image in runs[1].json["images"])
    contents = [
        json.loads((tmp_path / name / "annotations.json").read_bytes())["annotations"]
        for name in ("first", "second", "third", "fourth")
    ]
    assert contents[0] == contents[1] == contents[2] == contents[3] != []


def test_a_folder_that_cannot_be_made(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = segment(photographs, "--text", "cat", "--features", tmp_path / "file" / "below", "--out", tmp_path / "out")
    assert ran.status == 2
    assert "cannot be made" in ran.err
    assert not (tmp_path / "out").exists()
