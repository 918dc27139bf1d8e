"""Folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sam3port import placing as folder_module
from sam3port.errors import Sam3PortError, UsageError
from sam3port.placing import exchange, file_errors, put_in_place, recover

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="exchange in one step")


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def write(folder: Path, text: str) -> None:
    with put_in_place(folder) as new:
        (new / "sub").mkdir()
        (new / "sub" / "file").write_text(text)
        (new / text).touch()


def test_first_and_again(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for text in ("one", "two", "three"):
        write(place, text)
        assert content(place) == {"sub/file": text, text: ""}
        assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "place"
    write(place, "one")
    with pytest.raises(RuntimeError), put_in_place(place) as new:
        (new / "half").touch()
        raise RuntimeError
    assert content(place) == {"sub/file": "one", "one": ""}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_without_exchange_it_takes_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "exchange", lambda *_: False)
    place = tmp_path / "place"
    for text in ("one", "two"):
        write(place, text)
        assert content(place) == {"sub/file": text, text: ""}
    place.rename(tmp_path / ".place.old")  # killed between the steps
    with pytest.raises(RuntimeError), put_in_place(place):
        raise RuntimeError
    assert content(place) == {"sub/file": "two", "two": ""}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@LINUX
def test_there_is_no_moment_without_the_folder(tmp_path: Path) -> None:
    place = tmp_path / "place"
    write(place, "0")
    missing, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                os.stat(place / "sub" / "file")  # noqa: PTH116 - as fast as can be
            except FileNotFoundError:
                missing.append(time.monotonic())

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(200):
        write(place, str(number))
    done.set()
    thread.join()
    assert missing == []


@LINUX
def test_exchange_refuses_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert not exchange(tmp_path / "one", tmp_path / "none")
    assert (tmp_path / "one").is_dir()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_whenever_it_is_killed_the_folder_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "place"
    code = f"""
import itertools
from pathlib import Path
from tests.test_placing import write
print("ready", flush=True)
for number in itertools.count():
    write(Path({str(place)!r}), str(number))
"""
    for turn in range(5):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.3 + 0.013 * turn)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = content(place)
        number = found["sub/file"]
        assert found == {"sub/file": number, number: ""}
    write(place, "after")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_what_the_system_refuses_is_said_in_a_line(tmp_path: Path) -> None:
    with (
        pytest.raises(Sam3PortError, match="here: No space left on device\n  -> make room") as full,
        file_errors(Path("here")),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not isinstance(full.value, UsageError)
    with pytest.raises(UsageError, match="file/sub: Not a directory"), file_errors(tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "file" / "sub").mkdir()


def test_killed_between_the_renames_the_old_folder_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".built.old").mkdir()
    (tmp_path / ".built.old" / "old").touch()
    recover(tmp_path / "built")
    assert [path.name for path in (tmp_path / "built").iterdir()] == ["old"]


def test_killed_after_the_renames_the_new_folder_stays(tmp_path: Path) -> None:
    for name in ("built", ".built.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name.strip(".")).touch()
    recover(tmp_path / "built")
    assert [path.name for path in tmp_path.iterdir()] == ["built"]
    assert [path.name for path in (tmp_path / "built").iterdir()] == ["built"]
