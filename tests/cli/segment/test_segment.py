"""``sam3port segment`` on photographs, by a real artifact."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools.coco import COCO

import sam3port
from sam3port.runtime.model import Model
from tests.cli.segment.segmenting import Segment, photographs, segment, whole_files
from tests.conftest import clean_environment

__all__ = ["photographs", "segment"]

BOX, POINT = (100.0, 50.0, 300.0, 400.0), (220.0, 150.0)


@pytest.fixture(scope="module")
def model(tiny_artifact: Path) -> Model:
    return sam3port.load(tiny_artifact)


def test_everything_that_the_library_finds_is_written(
    segment: Segment, photographs: Path, model: Model, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    asked = ("--text", "a cat", "--box", "10,20,200,220", "--box", "0,0,50,50:-", "--point", "30,40:-")
    ran = segment(photographs, *asked, "--threshold", "0.4", "--out", out, "--json", "--threads", "2")
    assert ran.status == 0
    assert ran.json["annotations"] == str(out / "annotations.json")
    assert ran.json["artifact"]["weights"] == {"seed": 0}
    assert ran.json["prompt"]["boxes"][1] == {"pixels": [0, 0, 50, 50], "wanted": False}
    coco = COCO(out / "annotations.json")
    assert [category["name"] for category in coco.dataset["categories"]] == ["a cat"]
    expected = {"annotations.json"}
    for number, (image, name) in enumerate(zip(ran.json["images"], ("astronaut", "cat", "grey"), strict=True), 1):
        file = Path(image["file"])
        assert (file.parent, file.stem, image["error"]) == (photographs, name, None)
        result = model.encode_image(file).segment(
            "a cat", [(10, 20, 200, 220), (0, 0, 50, 50)], [True, False], [(30, 40)], [False], threshold=0.4
        )
        assert len(result) > 1
        order = np.argsort(-result.scores, kind="stable")
        scores = [thing["score"] for thing in image["objects"]]
        assert scores == [float(score) for score in result.scores[order]]
        boxes = [thing["box"] for thing in image["objects"]]
        sides = [image["width"], image["height"]] * 2
        np.testing.assert_allclose(boxes, np.clip(result.boxes[order], 0, sides), atol=1e-3)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        for mask, annotation, thing, written in zip(
            result.masks[order], annotations, image["objects"], image["masks"], strict=True
        ):
            with Image.open(written) as picture:
                assert picture.mode == "1"
                assert (np.asarray(picture) == mask).all()
            assert (coco.annToMask(annotation) == mask).all()
            assert thing["area"] == annotation["area"] == mask.sum()
            expected.add(Path(written).relative_to(out).as_posix())
        about = coco.loadImgs([number])[0]
        assert (out / about["file_name"]).resolve() == file.resolve()
        assert not Path(about["file_name"]).is_absolute()
        assert (about["height"], about["width"]) == result.masks.shape[1:]
        with Image.open(image["overlay"]) as overlay, Image.open(file) as shown:
            assert overlay.size == ImageOps.exif_transpose(shown).size == (image["width"], image["height"])
        expected.add(f"{name}.overlay.png")
    assert whole_files(out) == expected
    assert len({annotation["id"] for annotation in coco.dataset["annotations"]}) == len(expected) - 4
    assert not list(out.rglob(".*"))
    # Progress and notes are elsewhere, so that standard output is one JSON object.
    assert "[3/3]" in ran.err
    assert "weights come from seed 0" in ran.err and "mean nothing" in ran.err


def test_a_table_for_people(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = segment(photographs / "cat.jpg", "--box", "10,20,200,220", "--threshold", "0", "--out", out)
    assert ran.status == 0
    rows = [line for line in ran.out.splitlines() if line.startswith("│")]
    assert len(rows) == 11  # of 20 objects the first ten, and a word about the others
    assert "... and 10 more" in rows[-1]
    assert f"wrote {out / 'cat.overlay.png'}" in ran.out
    assert f"wrote 20 masks in {out / 'cat.masks'}" in ran.out
    assert json.loads((out / "annotations.json").read_bytes())["categories"][0]["name"] == "object"


def test_a_bar_on_a_terminal(
    segment: Segment, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = tmp_path / "out"
    ran = segment(photographs / "cat.jpg", "absent.jpg", "--text", "cat", "--out", out, "--json")
    assert ran.status == 1
    assert ran.json["images"][0]["error"] is None
    assert "absent.jpg does not exist" in ran.err
    assert "━" in ran.err and "[1/2]" not in ran.err


def test_run_lengths_only(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = segment(photographs / "grey.png", "--text", "man", "--threshold", "0.3", "--mask-format", "rle", "--out", out)
    assert ran.status == 0
    assert whole_files(out) == {"grey.overlay.png", "annotations.json"}
    assert len(json.loads((out / "annotations.json").read_bytes())["annotations"]) > 1


def test_nothing_found_is_said_and_no_failure(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    some = segment(photographs / "cat.jpg", "--text", "cat", "--threshold", "0", "--out", out, "--json")
    assert some.status == 0
    ran = segment(photographs / "cat.jpg", "--text", "cat", "--threshold", "1", "--out", out)
    assert ran.status == 0
    best = json.loads(some.out)["images"][0]["objects"][0]["score"]
    assert f"no object has a score above 1 (the best has {best:.3f}); a lower --threshold keeps more" in ran.out
    assert whole_files(out) == {"cat.overlay.png", "annotations.json"}  # the masks of the earlier run are gone
    content = json.loads((out / "annotations.json").read_bytes())
    assert (len(content["images"]), content["annotations"]) == (1, [])


def test_a_click_gives_the_one_object_under_it(
    segment: Segment, photographs: Path, model: Model, tmp_path: Path
) -> None:
    image = model.encode_image(photographs / "astronaut.png")
    for number, (words, kept) in enumerate(
        [
            (("--point", "220,150"), image.click([POINT])),
            (("--box", "100,50,300,400"), image.click(box=BOX)),
            (
                ("--point", "220,150", "--point", "30.5,40:-", "--box", "100,50,300,400"),
                image.click([POINT, (30.5, 40)], [True, False], BOX, multimask=False),
            ),
        ]
    ):
        out = tmp_path / str(number)
        ran = segment(photographs / "astronaut.png", "--click", *words, "--out", out, "--json")
        assert ran.status == 0
        assert ran.json["prompt"]["click"] is True
        (found,) = ran.json["images"][0]["objects"]
        assert found["score"] == kept.scores.max()
        with Image.open(out / "astronaut.masks" / "001.png") as mask:
            assert (np.asarray(mask) == kept.masks[kept.best]).all()
        assert whole_files(out) == {"astronaut.overlay.png", "astronaut.masks/001.png", "annotations.json"}


def test_texts_of_any_script_and_length(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    text = "宇航员 🚀 αστροναύτης رائدة فضاء"
    ran = segment(photographs / "cat.jpg", "--text", text, "--out", tmp_path / "out", "--json", "--threshold", "0")
    assert ran.status == 0
    assert ran.json["prompt"]["text"] == text
    content = json.loads((tmp_path / "out" / "annotations.json").read_text(encoding="utf-8"))
    assert content["categories"][0]["name"] == text
    long = segment(photographs, "--text", "astronaut " * 100, "--out", tmp_path / "long")
    assert long.status == 0
    assert long.err.count("its end is cut off") == 1


def test_pictures_of_one_name_do_not_write_over_each_other(segment: Segment, photographs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (photographs / "grey.png").rename(other / "cat.png")
    out = tmp_path / "out"
    ran = segment(photographs, other, "--text", "cat", "--out", out, "--mask-format", "rle", "--json")
    assert ran.status == 0
    overlays = {Path(image["file"]).name: Path(image["overlay"]).name for image in ran.json["images"]}
    assert overlays == {
        "astronaut.png": "astronaut.overlay.png",
        "cat.jpg": "cat.overlay.png",
        "cat.png": "cat-2.overlay.png",
    }
    assert whole_files(out) == {*overlays.values(), "annotations.json"}


RUN = """
import sys
from sam3port.cli.main import main
try:
    main(["segment", sys.argv[2], "--artifact", sys.argv[1], "--text", "cat", "--threshold", "0", "--out", "out"])
except SystemExit as ended:
    assert ended.code == 0, ended.code
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torch", "torchvision", "sam3", "scipy", "skimage", "matplotlib", "timm", "git"}, loaded
"""


def test_it_imports_nothing_that_only_other_commands_need(
    tiny_artifact: Path, photographs: Path, tmp_path: Path
) -> None:
    """Though all of it is installed here, TVM imports torch where it is, and the program knows every command."""
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tiny_artifact), str(photographs / "cat.jpg")],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(whole_files(tmp_path / "out")) == 22


def test_help_imports_hardly_anything() -> None:
    code = (
        "from sam3port.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        "import sys\n"
        "loaded = {name.partition('.')[0] for name in sys.modules} - {'sam3port', 'click', 'pluggy'}\n"
        "print(*loaded & {'numpy', 'tvm', 'tvm_ffi', 'torch', 'rich', 'PIL', 'filelock', 'psutil', 'packaging'})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == ""
