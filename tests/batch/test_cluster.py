"""The documented command on a cluster: nodes and jobs that are killed, pictures that are broken."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.batch.conftest import ended, pictures, start, wait

PROMPT = ("--text", "yellow bus", "--text", "person", "--threshold", "0.3", "--threads", "1")


def results(out: Path) -> pa.Table:
    """All shards; each is whole."""
    return pa.concat_tables([pq.read_table(file) for file in sorted((out / "parquet").iterdir())])


def coco(out: Path) -> dict[str, list[Any]]:
    """The shards of COCO, put together."""
    shards = [json.loads(file.read_bytes()) for file in sorted((out / "coco").iterdir())]
    assert all(shard["categories"] == shards[0]["categories"] for shard in shards)
    return {kind: [each for shard in shards for each in shard[kind]] for kind in ("images", "annotations")}


def test_nothing_is_lost_or_twice_when_a_node_dies(
    cluster: Any, second: Any, tiny_artifact: Path, tmp_path: Path
) -> None:
    """And the results are those of the plain command, to the last bit."""
    photos = pictures(tmp_path / "photos", 200)
    out = tmp_path / "out"
    running = start(
        tiny_artifact, "--ray", cluster.address, "photos", "--out", "out", "--shard", "8", *PROMPT, cwd=tmp_path
    )
    wait(lambda: len(list(out.glob("parquet/part-*"))) >= 4, running)
    cluster.remove_node(second, allow_graceful=False)
    status, _, err = ended(running)
    assert status == 0, err
    assert "[200/200]" in err
    found = results(out)
    assert Counter(found["picture"].to_pylist()) == Counter(str(file) for file in photos.iterdir())
    assert found["error"].null_count == 200
    assert sorted(found["image_id"].to_pylist()) == list(range(1, 201))
    whole = coco(out)
    for kind, entries in whole.items():
        assert len({entry["id"] for entry in entries}) == len(entries), kind
    assert len(whole["images"]) == 200
    assert {path.name for path in out.iterdir()} == {"job.json", "parquet", "coco", "tries"}
    assert not list((out / "tries").iterdir())

    words = ("--out", "plain", "--overlay", "none", "--mask-format", "rle", *PROMPT)
    status, _, err = ended(start(tiny_artifact, *sorted(photos.iterdir())[:20], *words, cwd=tmp_path))
    assert status == 0, err
    plain = json.loads((tmp_path / "plain" / "annotations.json").read_bytes())
    assert _by_picture(plain, tmp_path / "plain") == {
        name: things for name, things in _by_picture(whole, out / "coco").items() if Path(name).stem < "020"
    }
    (row,) = (row for row in found.to_pylist() if row["picture"].endswith("/000.png"))
    expected = _by_picture(plain, tmp_path / "plain")[row["picture"]]
    assert len(expected) == len(row["objects"]) > 0
    for thing, annotation in zip(row["objects"], expected, strict=True):
        assert thing["text"] == ("yellow bus", "person")[thing["category"] - 1]
        assert annotation["segmentation"] == {"size": [row["height"], row["width"]], "counts": thing["rle"]}
        assert (annotation["score"], annotation["bbox"]) == (thing["score"], thing["box"])


def _by_picture(content: dict[str, Any], folder: Path) -> dict[str, list[Any]]:
    """Each picture's annotations without what numbers them."""
    names = {image["id"]: str((folder / image["file_name"]).resolve()) for image in content["images"]}
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    for annotation in content["annotations"]:
        kept = {name: value for name, value in annotation.items() if name not in {"id", "image_id"}}
        found[names[annotation["image_id"]]].append(kept)
    return found


def test_a_job_that_was_killed_goes_on(cluster: Any, tiny_artifact: Path, tmp_path: Path) -> None:
    """With URIs as on an object store. A broken picture is a row and a status; mended or changed, it is done again."""
    photos = pictures(tmp_path / "photos", 60)
    (photos / "001.png").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("no picture either")
    out = tmp_path / "out"
    uri = photos.as_uri()
    words = ("--ray", cluster.address, uri, f"{uri}/*.png", "--out", out.as_uri(), "--shard", "4", *PROMPT)
    running = start(tiny_artifact, *words, cwd=tmp_path)
    wait(lambda: len(list(out.glob("parquet/part-*"))) >= 3, running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    names = [f"file://{photos}/{number:03}.png" for number in range(60)]
    before = {row["picture"]: row for row in results(out).to_pylist()}
    assert "001.png is no picture that Pillow can read" in before[names[1]]["error"]
    (out / "parquet" / ".part-000000009-0123456789ab.parquet.0.new").write_bytes(b"cut off")
    new = pictures(tmp_path / "new", 2)
    (photos / "001.png").write_bytes((new / "001.png").read_bytes())
    (photos / "002.png").write_bytes((new / "000.png").read_bytes())
    (photos / "059.png").write_bytes(b"no picture")

    status, _, err = ended(start(tiny_artifact, *words, cwd=tmp_path))
    assert status == 2 and "--resume" in err
    status, said, err = ended(start(tiny_artifact, *words, "--resume", "--json", cwd=tmp_path))
    assert status == 1, err
    assert f"sam3port: {names[59]} is no picture that Pillow can read" in err
    told = json.loads(said)
    assert (told["pictures"], told["failed"]) == (60, 1)
    kept = [name for name in before if name not in (names[1], names[2], names[59])]
    assert told["done_before"] >= len(kept)
    found = {row["picture"]: row for row in results(out).to_pylist()}
    assert sorted(found) == names and len(results(out)) == 60
    assert [found[name] for name in kept] == [before[name] for name in kept]
    assert [name for name in names if found[name]["error"] is not None] == [names[59]]
    assert found[names[1]]["objects"] and found[names[2]]["objects"] == found[names[0]]["objects"]
    assert {file.stem for file in (out / "parquet").iterdir()} == {file.stem for file in (out / "coco").iterdir()}
    assert sorted(image["file_name"] for image in coco(out)["images"]) == names[:59]


@pytest.mark.parametrize("words", [("--overlay", "jpg"), ("--features", "f"), ("--also", "yolo"), ("--polygons",)])
def test_what_does_not_go_with_a_cluster_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    status, _, err = ended(start(tmp_path, "--ray", "photos", *PROMPT, *words, cwd=tmp_path))
    assert status == 2
    assert f"--ray does not go with {words[0]}" in err
    assert not list(tmp_path.iterdir())
