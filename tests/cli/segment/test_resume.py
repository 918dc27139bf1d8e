"""Going on where an earlier run ended, by itself or not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.cli.segment.segmenting import Segment, photographs, segment, whole_files
from tests.cli.segment.test_harm import start

__all__ = ["photographs", "segment"]


def described(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "annotations.json").read_bytes())
    return content


def states(out: Path) -> dict[str, int]:
    return {file.relative_to(out).as_posix(): file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}


def test_what_is_done_is_left_alone(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--text", "cat", "--threshold", "0.4", "--resume", "--out", out)
    assert segment(photographs / "cat.jpg", photographs / "grey.png", *asked, "--json").status == 0
    before, first = states(out), described(out)
    ran = segment(photographs, *asked, "--json")
    assert ran.status == 0
    assert [image["done_before"] for image in ran.json["images"]] == [False, True, True]
    after = states(out)
    assert {name for name in before if before[name] == after[name]} == {*before} - {"annotations.json"}
    content = described(out)
    names = [Path(image["file_name"]).name for image in content["images"]]
    assert names == ["astronaut.png", "cat.jpg", "grey.png"]
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    for image in first["images"]:
        new = next(each for each in content["images"] if each["file_name"] == image["file_name"])
        kept = ("segmentation", "bbox", "area", "score", "category_id")
        of = [
            [{name: each[name] for name in kept} for each in one["annotations"] if each["image_id"] == number]
            for one, number in ((first, image["id"]), (content, new["id"]))
        ]
        assert of[0] == of[1] != []
    # Another picture later: what this run has nothing to do with stays described.
    shutil.copy(photographs / "cat.jpg", tmp_path / "another.jpg")
    again = segment(tmp_path / "another.jpg", *asked)
    assert again.status == 0
    assert len(described(out)["images"]) == 4
    every = segment(photographs, tmp_path / "another.jpg", *asked)
    assert "4 pictures were done before" in every.out


def test_what_changed_or_is_gone_is_done_again(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = (photographs, "--text", "cat", "--threshold", "0.4", "--resume", "--out", out, "--json")
    assert segment(*asked).status == 0
    os.utime(photographs / "cat.jpg", (1, 1))
    (out / "grey.masks" / "001.png").unlink()
    ran = segment(*asked)
    assert [image["done_before"] for image in ran.json["images"]] == [True, False, False]
    assert (out / "grey.masks" / "001.png").is_file()
    (photographs / "cat.jpg").rename(photographs / "was-cat.txt")
    (photographs / "grey.png").write_bytes(b"")
    ran = segment(*asked)
    assert ran.status == 1
    # The empty one is described no more, the absent one is none of this run's business.
    assert sorted(Path(image["file_name"]).name for image in described(out)["images"]) == ["astronaut.png", "cat.jpg"]


def test_results_of_another_prompt_are_not_mixed(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(photographs / "cat.jpg", "--text", "cat", "--out", out).status == 0
    before = (out / "annotations.json").read_bytes()
    for other in (("--text", "dog"), ("--text", "cat", "--threshold", "0.1"), ("--text", "cat", "--polygons")):
        ran = segment(photographs / "cat.jpg", *other, "--resume", "--out", out)
        assert ran.status == 2
        assert "are of another prompt, artifact or form" in ran.err
    assert (out / "annotations.json").read_bytes() == before
    assert segment(photographs / "cat.jpg", "--text", "dog", "--out", out).status == 0


def test_a_killed_run_is_gone_on_with(segment: Segment, photographs: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(photographs, tiny_artifact, out, 15)
    process.kill()
    process.communicate(timeout=60)
    assert not (out / "annotations.json").exists()
    journal = out / ".segment.journal"
    done = journal.read_text(encoding="utf-8").splitlines()
    assert len(done) >= 2
    journal.write_text("\n".join([*done, done[0][: len(done[0]) // 2]]), encoding="utf-8")  # killed while writing
    ran = segment(photographs, "--text", "cat", "--threshold", "0.4", "--resume", "--out", out, "--json")
    assert ran.status == 0
    assert sum(image["done_before"] for image in ran.json["images"]) == len(done)
    assert len(described(out)["images"]) == 18
    assert len([name for name in whole_files(out) if name.endswith(".overlay.png")]) == 18
    assert not [file.name for file in out.iterdir() if file.name.startswith(".")]
