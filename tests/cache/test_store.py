"""The store of stages: entries appear whole, are shared, and do not pile up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sam3port.cache.store import SIZE_VARIABLE, Store, allowed_bytes, link
from sam3port.errors import UsageError


def put(store: Store, key: str, content: str = "x") -> Path:
    folder = store.begin()
    (folder / "file").write_text(content)
    return store.commit(folder, key)


def test_an_entry_is_found_under_its_key_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = put(store, "a", "content")
    assert store.find("a") == entry
    assert (entry / "file").read_text() == "content"
    assert store.find("b") is None


def test_what_is_being_written_is_not_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.begin() / "file").write_text("half")
    assert [path.name for path in tmp_path.iterdir()] == [".writing"]


def test_of_two_builds_the_first_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "a", "first")
    put(store, "a", "second")
    entry = store.find("a")
    assert entry is not None
    assert (entry / "file").read_text() == "first"
    assert not list((tmp_path / ".writing").iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_entries_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        (put(Store(tmp_path), "a") / "file").write_text("y")


def test_leftovers_of_a_process_that_died_go(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from sam3port.cache.store import Store; Store(Path({str(tmp_path)!r})).begin()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    store = Store(tmp_path)
    mine = store.begin()
    assert len(list((tmp_path / ".writing").iterdir())) == 2
    store.clean()
    assert list((tmp_path / ".writing").iterdir()) == [mine]


def test_the_entry_used_longest_ago_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    now = time.time()
    for age, key in ((5, "older"), (4, "old"), (3, "newer")):
        entry = put(store, key, "x" * 1000)
        os.utime(entry, (now - age * 86400,) * 2)
    assert store.find("older") is not None  # which is a use
    monkeypatch.setenv(SIZE_VARIABLE, str(2500 / 2**30))
    store.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing", "newer", "older"]


def test_what_was_used_just_now_stays_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, "0")
    store = Store(tmp_path)
    put(store, "a")
    store.clean()
    assert store.find("a") is not None


def test_a_size_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, "much")
    with pytest.raises(UsageError, match="much"):
        allowed_bytes()


def test_a_link_outlives_the_entry(tmp_path: Path) -> None:
    entry = put(Store(tmp_path / "store"), "a", "content")
    link(entry / "file", tmp_path / "file")
    (entry / "file").unlink()
    assert (tmp_path / "file").read_text() == "content"
