"""What goes wrong with ``sam3port segment``: a line, a status, and nothing half written or lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import filelock
import pytest

from tests.cli.conftest import call
from tests.cli.segment.segmenting import Segment, photographs, segment, whole_files
from tests.conftest import clean_environment

__all__ = ["photographs", "segment"]

resource = pytest.importorskip("resource", reason="limits of processes are POSIX's")


def gigantic(file: Path) -> None:
    """A PNG of a few bytes that says it has 3.6 gigapixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(60_001))) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_bad_pictures_among_good_ones(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    whole = (photographs / "astronaut.png").read_bytes()
    (photographs / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photographs / "empty.jpg").touch()
    (photographs / "letter.jpg").write_text("Dear all,", encoding="utf-8")
    gigantic(photographs / "gigantic.png")
    out = tmp_path / "out"
    ran = segment(photographs, tmp_path / "absent.jpg", "--text", "cat", "--out", out, "--json", "--mask-format", "rle")
    assert ran.status == 1
    errors = {Path(image["file"]).name: image["error"] for image in ran.json["images"] if image["error"]}
    assert errors.keys() == {"cut.png", "empty.jpg", "letter.jpg", "gigantic.png", "absent.jpg"}
    complaints = {
        "cut.png": "damaged",
        "empty.jpg": "is empty",
        "letter.jpg": "no picture",
        "gigantic.png": "more pixels than the limit",
        "absent.jpg": "does not exist",
    }
    for name, complaint in complaints.items():
        assert name in errors[name] and complaint in errors[name]
        assert f"sam3port: {errors[name]}\n" in ran.err
    names = {"astronaut.overlay.png", "cat.overlay.png", "grey.overlay.png", "annotations.json"}
    assert whole_files(out) == names
    assert len(json.loads((out / "annotations.json").read_bytes())["images"]) == 3


def test_a_box_outside_some_of_the_pictures(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    """The cat is 300 wide as it is shown, 451 as it is stored."""
    out = tmp_path / "out"
    ran = segment(photographs, "--box", "310,0,400,100", "--out", out, "--json", "--mask-format", "rle")
    assert ran.status == 1
    errors = [image["error"] for image in ran.json["images"]]
    assert errors[0] is errors[2] is None
    assert "cat.jpg" in errors[1] and "outside the picture of 300 x 451" in errors[1]


def test_no_picture_can_be_used(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = segment(photographs, "absent.jpg", "*.nothing", "--point", "900,900", "--out", out)
    assert ran.status == 2
    assert ran.err.count("outside the picture") == 3
    assert not out.exists()


def test_too_many_boxes_are_refused_before_the_first_picture(segment: Segment, photographs: Path) -> None:
    out = photographs / "out"
    ran = segment(photographs, *["--box", "1,2,3,4"] * 9, "--out", out)
    assert ran.status == 2
    assert "9 boxes are given, the artifact was built for at most 8" in ran.err
    assert not out.exists()


def test_artifacts_that_are_none(segment: Segment, photographs: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_artifact, damaged)
    library = damaged / "model.so"
    library.chmod(0o644)
    with library.open("r+b") as stream:
        stream.truncate(library.stat().st_size // 2)
    for artifact, complaint in (
        (tmp_path / "absent", "does not exist"),
        (photographs, "no artifact"),
        (damaged, "cut"),
    ):
        out = tmp_path / "out"
        ran = segment(photographs, "--text", "cat", "--artifact", artifact, "--out", out)
        assert ran.status == 2
        assert complaint in ran.err and str(artifact) in ran.err
        assert not out.exists()


def test_folders_that_cannot_be_written_to(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    for out in (file, file / "below"):
        ran = segment(photographs, "--text", "cat", "--out", out)
        assert ran.status == 2
        assert "cannot be written" in ran.err and str(file) in ran.err
    assert file.read_text(encoding="utf-8") == "mine"


def test_what_is_the_users_is_not_replaced(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    notes = tmp_path / "cat.masks" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine", encoding="utf-8")
    ran = segment(photographs, "--text", "cat", "--out", tmp_path)
    assert ran.status == 2
    assert "did not make" in ran.err
    assert notes.read_text(encoding="utf-8") == "mine"
    picture = photographs / "cat.overlay.png"
    shutil.copy(photographs / "grey.png", picture)
    ran = segment(photographs / "cat.jpg", picture, "--text", "cat", "--out", photographs)
    assert ran.status == 2
    assert f"written over the picture {picture}" in ran.err
    assert picture.read_bytes() == (photographs / "grey.png").read_bytes()


def test_one_run_at_a_time(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with filelock.FileLock(out / ".segment.lock"):
        ran = segment(photographs, "--text", "cat", "--out", out)
    assert ran.status == 2
    assert f"another run is writing into {out}" in ran.err


def test_a_disk_that_is_full_leaves_the_earlier_results(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = (photographs / "cat.jpg", "--text", "cat", "--out", out)
    assert segment(*asked, "--threshold", "0.6").status == 0
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # room for masks, not for the overlay
    try:
        ran = segment(*asked, "--threshold", "0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.status == 2
    assert "cannot be written: File too large" in ran.err
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_a_disk_that_is_full_for_the_journal(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--text", "cat", "--threshold", "0", "--mask-format", "rle", "--overlay", "none", "--out", out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        ran = segment(photographs / "cat.jpg", *asked)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.status == 2
    assert "cannot be written: File too large" in ran.err
    assert not out.exists()


def test_names_that_terminals_must_not_see(tiny_artifact: Path, photographs: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, line breaks and escape sequences are legal in names of files."""
    odd = os.fsdecode(b"\xff\n\x1b[31m.png")
    (photographs / "grey.png").rename(photographs / odd)
    words = ("segment", str(photographs / odd), "--artifact", str(tiny_artifact), "--text", "man", "--out", "out")
    for more in ((), ("--json",)):
        ran = call(*words, "--threshold", "0.4", *more, cwd=tmp_path, PYTHONIOENCODING="utf-8:strict")
        assert ran.returncode == 0, ran.stderr
        assert "\x1b" not in ran.stdout + ran.stderr
        assert "\\udcff\\n\\x1b[31m.png: " in ran.stderr
    assert json.loads(ran.stdout)["images"][0]["file"] == str(photographs / odd)
    assert len(whole_files(tmp_path / "out")) > 2


def start(photographs: Path, artifact: Path, out: Path, more: int = 60) -> subprocess.Popen[str]:
    """A run over many pictures, when it has finished two."""
    for number in range(more):
        shutil.copy(photographs / "cat.jpg", photographs / f"cat{number:02}.jpg")
    command = [sys.executable, "-m", "sam3port", "segment", photographs, "--artifact", artifact, "--out", out]
    process = subprocess.Popen(
        [*map(str, command), "--text", "cat", "--threshold", "0.4"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[2/"):
            break
    return process


def test_a_killed_run_leaves_no_half_file(
    segment: Segment, photographs: Path, tiny_artifact: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert segment(photographs / "grey.png", "--text", "man", "--threshold", "0.4", "--out", out).status == 0
    annotations = (out / "annotations.json").read_bytes()
    process = start(photographs, tiny_artifact, out)
    time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert {"astronaut.overlay.png", "cat.overlay.png", "grey.overlay.png"} <= whole_files(out)
    assert (out / "annotations.json").read_bytes() == annotations
    # As if it had been killed in the middle of a picture; the next run cleans up.
    (out / ".cat.masks.new").mkdir(exist_ok=True)
    (out / ".cat.overlay.png.12-34.new").touch()
    assert segment(photographs / "cat.jpg", "--text", "cat", "--out", out).status == 0
    assert not [file.name for file in out.iterdir() if file.name.startswith(".")]


def test_an_interrupted_run_describes_what_it_wrote(photographs: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(photographs, tiny_artifact, out)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.rstrip().endswith("sam3port: interrupted")
    described = json.loads((out / "annotations.json").read_bytes())["images"]
    overlays = {name for name in whole_files(out) if name.endswith(".overlay.png")}
    assert 2 <= len(described) == len(overlays) < 63
    assert not [file.name for file in out.iterdir() if file.name.startswith(".")]
