"""Boxes and points as they are written on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3port.artifact.interface import Capacity
from sam3port.cli.main import main
from sam3port.cli.segment.prompts import Prompt, example, read_labels
from sam3port.errors import UsageError


@pytest.mark.parametrize(
    ("value", "numbers", "wanted"),
    [
        ("1,2,3,4", (1, 2, 3, 4), True),
        ("-5,-6.5,30,40.25:+", (-5, -6.5, 30, 40.25), True),
        (" 1 , 2 , 3e1 , 4 :- ", (1, 2, 30, 4), False),
        ("0,.5,1.,2:-", (0, 0.5, 1, 2), False),
    ],
)
def test_a_box(value: str, numbers: tuple[float, ...], wanted: bool) -> None:
    box = example("--box", value, 4)
    assert box.numbers == numbers
    assert box.wanted is wanted


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "1 numbers instead of 4"),
        ("1,2,3", "3 numbers instead of 4"),
        ("1,2,3,4,5", "5 numbers instead of 4"),
        ("1,2,3,", "'nothing' is no number"),
        ("1,2,3,four", "'four' is no number"),
        ("1,2,nan,4", "nan is no finite number"),
        ("-inf,2,3,4", "-inf is no finite number"),
        ("1,2,1e999,4", "1e999 is no finite number"),
        ("1,2,3,4:", "neither + nor -"),
        ("1,2,3,4:yes", "neither + nor -"),
        ("1,2,3,4:+:-", "neither + nor -"),
        ("3,2,1,4", "the box has no area"),
        ("1,4,3,2", "the box has no area"),
        ("1,2,1,4", "the box has no area"),
    ],
)
def test_what_is_no_box(value: str, complaint: str) -> None:
    with pytest.raises(UsageError, match="--box ") as raised:
        example("--box", value, 4)
    assert complaint in raised.value.problem
    assert "\n" not in raised.value.problem
    assert "X0,Y0,X1,Y1" in raised.value.remedy


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "there is nothing to look for"),
        (["--text", ""], "--text is empty"),
        (["--text", " \t\n"], "--text is empty"),
        (["--box", "1,2,3"], "--box 1,2,3: 3 numbers instead of 4"),
        (["--point", "1"], "--point 1: 1 numbers instead of 2"),
        (["--point", "-1,nan"], "nan is no finite number"),
        (["--text", "a", "--threshold", "1.5"], "--threshold 1.5 is not within 0 and 1"),
        (["--text", "a", "--text", " "], "--text is empty"),
        (["--text", "a", "--text", "b", "--text", "a"], "the text 'a' is given twice"),
        (["--labels", "absent.txt"], "absent.txt cannot be read"),
        (["--text", "a", "--nms", "2"], "--nms 2.0 is not within 0 and 1"),
        (["--text", "a", "--mask-threshold", "-1"], "--mask-threshold -1.0 is not within 0 and 1"),
        (["--click", "--point", "1,2", "--nms", "0.5"], "--click does not go with --nms"),
        (["--text", "a", "--threshold", "nan"], "--threshold nan is not within 0 and 1"),
        (["--click"], "there is nothing to look for"),
        (["--click", "--text", "a", "--point", "1,2"], "--click takes no --text"),
        (["--click", "--box", "1,2,3,4", "--box", "1,2,3,4"], "at most one --box"),
        (["--click", "--box", "1,2,3,4:-"], "at most one --box"),
        (["--click", "--point", "1,2", "--threshold", "0.5"], "leave --threshold out"),
    ],
)
def test_wrong_use_is_said_before_anything_is_opened(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["segment", "absent.jpg", "--artifact", "absent", "--out", str(out), *arguments])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert complaint in said.err
    assert len(said.err.splitlines()) <= 2
    assert not out.exists()


def test_more_than_the_artifact_was_built_for() -> None:
    boxes = tuple(example("--box", "1,2,3,4", 4) for _ in range(3))
    points = tuple(example("--point", "1,2", 2) for _ in range(2))
    prompt = Prompt(("text",), boxes, points, 0.5)
    prompt.fits(Capacity(prompts=1, points=2, boxes=3))
    with pytest.raises(UsageError, match="3 boxes are given, the artifact was built for at most 2"):
        prompt.fits(Capacity(prompts=1, points=2, boxes=2))
    with pytest.raises(UsageError, match="2 points are given, the artifact was built for at most 1"):
        prompt.fits(Capacity(prompts=1, points=1, boxes=3))


def test_texts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffyellow bus\r\n\n# people\n  person \n", encoding="utf-8")
    assert read_labels(file) == ("yellow bus", "person")
    for content, complaint in ((b"# only\n", "holds no text"), (b"\xff\xfe\x00", "no text in UTF-8")):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=complaint):
            read_labels(file)


def test_a_list_in_one_text_is_noted() -> None:
    notes = Prompt(("cat, dog", "bus", "a\nb", "tree\n"), (), (), 0.5).notes()
    assert len(notes) == 2
    assert "'cat, dog' is asked as one phrase" in notes[0]
