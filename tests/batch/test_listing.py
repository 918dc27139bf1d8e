"""Which pictures are left to do: by what lies in the folder of results, whatever happened before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sam3port.batch import listing, shards
from sam3port.batch.listing import Listing, add_uri, cut, missing, pending, shard_name
from sam3port.batch.schema import RESULTS
from sam3port.batch.shards import Shards
from sam3port.batch.storage import Folder, shown
from sam3port.errors import UsageError

RUN = {"artifact": "0", "prompt": {"texts": ["bus"]}}


def job(folder: Path, run: dict[str, Any] = RUN) -> Shards:
    return Shards(Folder(str(folder)), ("bus",), run)


def listed(*names: str, size: int = 5) -> Listing:
    found = Listing()
    for name in names:
        found.add(name, "", name, size, 7)
    return found


def results(first: int, *names: str, size: int = 5, error: str | None = None) -> pa.Table:
    box, thing = [0.0, 0.0, 1.0, 1.0], {"category": 1, "text": "bus", "score": 0.5, "area": 1, "rle": "01"}
    rows = [
        {
            "image_id": number,
            "picture": name,
            "file_size": size,
            "mtime_ns": 7,
            "width": 1,
            "height": 1,
            "objects": [thing | {"box": box}],
            "best_below": None,
            "notes": [],
            "error": error,
        }
        for number, name in enumerate(names, first)
    ]
    return pa.Table.from_pylist(rows, schema=RESULTS)


def test_done_pictures_stay_and_nothing_is_twice(tmp_path: Path) -> None:
    out = job(tmp_path)
    out.write("part-1", results(1, "/a", "/b"))
    out.write("part-2", results(3, "/c", error="broken"))
    out.write("part-3", results(4, "/d", size=99))
    out.write("part-4", results(5, "/b", "/e"))
    out.write("part-5", results(7, "/f"))  # of another list
    work, before = pending(listed("/a", "/b", "/c", "/d", "/e", "/g"), out)
    assert (work["picture"].to_pylist(), work["image_id"].to_pylist(), before) == (["/c", "/d", "/g"], [8, 9, 10], 3)
    there = [name for _, table in out.listed() for name in table["picture"].to_pylist()]
    assert there == ["/a", "/b", "/e", "/f"]
    assert missing(listed("/a", "/g"), out) == ["/g"]
    names = [image["file_name"] for file in sorted((tmp_path / "coco").iterdir()) for image in _images(file)]
    assert [Path("/", name.removeprefix("../" * name.count("../"))) for name in names] == [Path(n) for n in there]


def _images(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_bytes())["images"]
    return found


def test_a_shard_ends_at_a_number_of_pictures_or_bytes() -> None:
    names = [f"/{number}" for number in range(7)]
    work, _ = pending(listed(*names, size=listing.SHARD_BYTES // 3), job(Path("/nowhere")))
    assert [len(shard) for shard in cut(work, 32)] == [3, 3, 1]
    assert [len(shard) for shard in cut(work, 2)] == [2, 2, 2, 1]
    large, _ = pending(listed(*names[:2], size=listing.SHARD_BYTES * 2), job(Path("/nowhere")))
    assert [len(shard) for shard in cut(large, 32)] == [1, 1]
    assert len({shard_name(shard) for shard in (*cut(work, 1), *cut(work, 2), work)}) == 7 + 3 + 1  # the last is alone
    assert shard_name(work) == shard_name(pa.table(work.to_pydict(), schema=work.schema))
    assert cut(work.slice(0, 0), 32) == []


def test_mending(tmp_path: Path) -> None:
    out = job(tmp_path)
    out.write("part-1", results(1, "/a"))
    whole = (tmp_path / "coco" / "part-1.json").read_bytes()
    (tmp_path / "coco" / "part-1.json").unlink()
    (tmp_path / "coco" / "part-9.json").write_text("{}")
    out.mend()
    assert [file.name for file in (tmp_path / "coco").iterdir()] == ["part-1.json"]
    assert (tmp_path / "coco" / "part-1.json").read_bytes() == whole


def test_a_folder_of_another_job_is_refused(tmp_path: Path) -> None:
    out = job(tmp_path)
    out.begin(resume=False)
    out.write("part-1", results(1, "/a"))
    with pytest.raises(UsageError, match="holds results already"):
        job(tmp_path).begin(resume=False)
    job(tmp_path).begin(resume=True)
    with pytest.raises(UsageError, match="of another prompt or artifact"):
        job(tmp_path, {"artifact": "1"}).begin(resume=True)
    (tmp_path / shards.JOB).unlink()
    with pytest.raises(UsageError, match=r"no job\.json"):
        job(tmp_path).begin(resume=True)
    (tmp_path / shards.PARQUET / "part-1.parquet").write_bytes(b"cut off")
    with pytest.raises(UsageError, match=r"part-1\.parquet is damaged"):
        pending(listed("/a"), out)


def test_uris(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(b"1")
    (tmp_path / "c.JPG").write_bytes(b"12")
    (tmp_path / "d.txt").write_bytes(b"1")
    (tmp_path / ".e.png").write_bytes(b"1")
    (tmp_path / "within").mkdir()
    found, skipped = Listing(), list[str]()
    add_uri(found, tmp_path.as_uri(), frozenset({".png", ".jpg"}), skipped)
    assert (found.sizes, skipped) == ([1, 2], ["d.txt"])
    assert found.pictures == [f"file://{tmp_path}/{name}" for name in ("a b.png", "c.JPG")]
    add_uri(found, f"{tmp_path.as_uri()}/*.JPG", frozenset(), skipped)
    add_uri(found, f"{tmp_path.as_uri()}/c.JPG", frozenset(), skipped)
    add_uri(found, f"{tmp_path.as_uri()}/none", frozenset(), skipped)
    assert [problem for problem in found.problems if problem] == [f"there is no picture at file://{tmp_path}/none"]
    assert len(found.once()) == 3
    with pytest.raises(UsageError, match="nothing://x/y cannot be reached"):
        add_uri(found, "nothing://x/y", frozenset(), skipped)


def test_secrets_are_not_shown() -> None:
    assert shown("s3://key:secret@bucket/folder?region=x") == "s3://bucket/folder"
