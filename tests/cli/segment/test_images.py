"""Which pictures are meant, and what their results are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sam3port.cli.segment.images import sources, suffixes


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; only names matter here, nothing is opened."""
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "a.overlay.png", "deep/c.jpg", "[1].jpg", "1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(*given: str) -> list[str]:
    found = sources(given).pictures
    assert all(source.problem is None for source in found)
    return [source.file.as_posix() for source in found]


def problem(given: str) -> str:
    (source,) = sources([given]).pictures
    assert source.problem is not None
    return source.problem


def test_a_folder_gives_its_own_pictures_by_name(place: Path) -> None:
    assert files(".") == ["1.jpg", "[1].jpg", "a.PNG", "b.jpg"]
    assert files(str(place / "deep")) == [(place / "deep" / "c.jpg").as_posix()]


def test_a_pattern_that_no_shell_replaced(place: Path) -> None:
    assert files("?.jpg") == ["1.jpg", "b.jpg"]
    assert files("**/c.jpg") == ["deep/c.jpg"]
    assert files(str(place / "b*.jpg")) == [(place / "b.jpg").as_posix()]


@pytest.mark.usefixtures("place")
def test_a_file_goes_before_the_pattern_of_its_name() -> None:
    assert files("[1].jpg") == ["[1].jpg"]


def test_every_picture_once_in_the_order_given(place: Path) -> None:
    (place / "link.jpg").symlink_to("b.jpg")
    assert files("b.jpg", "?.jpg", "./b.jpg", str(place / "b.jpg"), "link.jpg", "a.PNG") == ["b.jpg", "1.jpg", "a.PNG"]


def test_what_is_no_picture_is_a_problem_of_its_own(place: Path) -> None:
    assert problem("absent.jpg") == "absent.jpg does not exist"
    assert problem("*.webp") == "no file matches *.webp"
    assert problem("empty") == "the folder empty holds no pictures"
    os.mkfifo(place / "pipe.jpg")
    assert problem("pipe.jpg") == "pipe.jpg is no ordinary file"
    assert "cannot be read" in problem("a" * 5000 + ".jpg")
    assert [source.problem is None for source in sources(["absent.jpg", "b.jpg"]).pictures] == [False, True]


def test_what_a_folder_holds_besides_is_counted_and_named(place: Path) -> None:
    found = sources([".", "deep", "b.jpg"])
    assert found.skipped == [Path("notes.txt")]
    assert found.skipped_note() == "1 file is skipped, no pictures that can be read here: notes.txt"
    for number in range(6):
        (place / "deep" / f"{number}.labels.png").touch()
        (place / "deep" / f"{number}.heix").touch()
    note = sources(["deep"]).skipped_note()
    assert note is not None
    assert note.endswith(
        "6 files are skipped, no pictures that can be read here: 0.heix, 1.heix, 2.heix, 3.heix, 4.heix, ..."
    )
    assert sources(["b.jpg"]).skipped_note() is None


def test_results_of_equal_names_differ(place: Path) -> None:
    for name in ("one/x.jpg", "two/x.jpg", "two/x.png", "two/X.jpeg", "two/x-2.png"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).touch()
    names = [source.name for source in sources(["one", "two"]).pictures]
    assert names[0] == "x"
    assert len({name.casefold() for name in names}) == 5


def test_the_suffixes_are_those_of_photographs() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif"} <= suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt"} & suffixes()
