"""The proof names every file that is changed, missing or extra, and costs little the second time."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from sam3port.errors import UpstreamError
from sam3port.upstream import manifest
from sam3port.upstream.source import locate
from sam3port.upstream.verify import Proof, verify
from tests.upstream.conftest import Project, copy_pinned

DECODER = "sam3/model/decoder.py"
SETTLED = 2.2  # seconds after which a file's times are trusted

pytestmark = pytest.mark.usefixtures("fresh_cache")


def prove(tree: Path, *, cache: bool = True) -> Proof:
    return verify(locate(tree), cache=cache)


def change_one_character(file: Path) -> None:
    """Without changing its size or its modification time."""
    before = file.stat()
    data = file.read_bytes()
    place = data.index(b"self")
    file.write_bytes(data[:place] + b"sElf" + data[place + 4 :])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def test_the_pinned_files_are_proved(tree: Path) -> None:
    proof = prove(tree)
    assert proof.ok and proof.identical
    assert proof.differences() == ""
    proof.require()


def test_every_single_file_is_looked_at(tree: Path) -> None:
    for path in manifest.blobs():
        with (tree / path).open("ab") as file:
            file.write(b"\n")
    assert set(prove(tree).changed) == set(manifest.blobs())


def test_one_character_is_named(tree: Path) -> None:
    change_one_character(tree / DECODER)
    proof = prove(tree)
    assert (proof.changed, proof.missing, proof.extra) == ((DECODER,), (), ())
    with pytest.raises(UpstreamError, match=f"changed: {DECODER}"):
        proof.require()


def test_all_differences_are_named_at_once(tree: Path) -> None:
    change_one_character(tree / DECODER)
    (tree / "LICENSE").unlink()
    (tree / "sam3" / "new.py").touch()
    assert prove(tree).differences() == f"changed: {DECODER}; missing: LICENSE; extra: sam3/new.py"


def test_line_ends_of_a_windows_checkout(tree: Path) -> None:
    for path in manifest.blobs():
        if manifest.is_text(path):
            data = (tree / path).read_bytes().replace(b"\r\n", b"\n")
            (tree / path).write_bytes(data.replace(b"\n", b"\r\n"))
    assert prove(tree).identical


@pytest.mark.parametrize(
    "name",
    [
        "sam3/new.py",
        "sam3/model/decoder/__init__.py",  # imported in place of decoder.py
        f"sam3/model/decoder{'.pyd' if os.name == 'nt' else '.so'}",  # likewise
        "sam3/model/new.pyc",
        "sam3/model/new/__init__.py",
        "sam3/new/deeply/nested.py",
    ],
)
def test_what_could_be_imported_is_extra(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).touch()
    assert prove(tree).extra == (name,)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_linked_folder_is_extra(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "new.py").touch()
    (tree / "sam3" / "linked").symlink_to(tmp_path / "outside")
    assert prove(tree).extra == ("sam3/linked",)


@pytest.mark.parametrize(
    "name",
    [
        "sam3/__pycache__/new.cpython-311.pyc",
        "sam3/notes.txt",
        "sam3/train/configs/new.yaml",
        "examples/new.py",
        "setup.py",
        ".git/hooks/x.py",
    ],
)
def test_what_cannot_be_imported_as_sam3_is_not_extra(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).touch()
    if name.startswith(".git/"):
        (tree / ".git" / "HEAD").write_text("nonsense")
    assert prove(tree).identical


def test_a_folder_in_place_of_a_file_is_a_change(tree: Path) -> None:
    (tree / DECODER).unlink()
    (tree / DECODER).mkdir()
    assert prove(tree).changed == (DECODER,)


class TestCachedProof:
    def test_nothing_is_read_the_second_time(self, project: Project, tree: Path) -> None:
        code = """
import sys, time
from pathlib import Path
from sam3port.upstream.source import locate
from sam3port.upstream.verify import verify
found = locate(Path(sys.argv[1]))
opened = []
def note(event, arguments):
    if event == "open" and str(arguments[0]).startswith(sys.argv[1]):
        opened.append(str(arguments[0]))
sys.addaudithook(note)
started = time.perf_counter()
proof = verify(found)
print(len(opened), proof.identical, f"{(time.perf_counter() - started) * 1e3:.1f}")
"""
        time.sleep(SETTLED)
        first = project.run("-c", code, str(tree)).stdout.split()
        second = project.run("-c", code, str(tree)).stdout.split()
        sys.stdout.write(f"verify: {first[2]} ms, cached {second[2]} ms\n")
        assert first[:2] == [str(len(manifest.blobs())), "True"]
        assert second[:2] == ["0", "True"]

    def test_changes_after_the_proof_are_seen(self, tree: Path) -> None:
        time.sleep(SETTLED)
        assert prove(tree).identical
        assert prove(tree).identical
        (tree / "sam3" / "new.py").touch()
        (tree / "LICENSE").unlink()
        with (tree / DECODER).open("ab") as file:
            file.write(b"\n")
        assert prove(tree).differences() == f"changed: {DECODER}; missing: LICENSE; extra: sam3/new.py"

    @pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of change")
    def test_a_change_that_keeps_size_and_modification_time_is_seen(self, tree: Path) -> None:
        time.sleep(SETTLED)
        assert prove(tree).identical
        change_one_character(tree / DECODER)
        assert prove(tree).changed == (DECODER,)

    def test_a_file_just_written_is_not_trusted(self, tree: Path, fresh_cache: Path) -> None:
        """It may change again without its times changing, on a coarse clock."""
        time.sleep(SETTLED)
        os.utime(tree / DECODER)
        assert prove(tree).identical
        (file,) = (fresh_cache / "proofs").glob("*.json")
        assert set(json.loads(file.read_text())["files"]) == set(manifest.blobs()) - {DECODER}
        change_one_character(tree / DECODER)
        assert prove(tree).changed == (DECODER,)

    def test_a_wrong_file_stays_wrong(self, tree: Path) -> None:
        change_one_character(tree / DECODER)
        time.sleep(SETTLED)
        assert prove(tree).changed == (DECODER,)
        assert prove(tree).changed == (DECODER,)

    def test_two_trees_have_two_proofs(self, tree: Path, upstream_root: Path, tmp_path: Path) -> None:
        other = copy_pinned(upstream_root, tmp_path / "other")
        change_one_character(other / DECODER)
        time.sleep(SETTLED)
        assert prove(tree).identical
        assert prove(other).changed == (DECODER,)
        assert prove(tree).identical

    def test_a_damaged_or_foreign_proof_proves_nothing(self, tree: Path, fresh_cache: Path) -> None:
        change_one_character(tree / DECODER)
        time.sleep(SETTLED)
        assert prove(tree).changed == (DECODER,)
        (file,) = (fresh_cache / "proofs").glob("*.json")
        proof = json.loads(file.read_text())
        status = (tree / DECODER).stat()
        proof["files"][DECODER] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]

        # So the proof is used at all, and what follows can fail.
        file.write_text(json.dumps(proof))
        assert prove(tree).identical

        for foreign in (
            json.dumps(proof | {"manifest": "another"}),
            json.dumps({"files": proof["files"]}),
            json.dumps({"manifest": proof["manifest"], "files": list(proof["files"])}),
            json.dumps([proof]),
            json.dumps(proof)[:-1],
            "",
        ):
            file.write_text(foreign)
            assert prove(tree).changed == (DECODER,), foreign[:80]
        assert not list((fresh_cache / "proofs").glob("*.tmp"))

    def test_no_cache_at_all(self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "file" / "below"))
        assert prove(tree).identical
        change_one_character(tree / DECODER)
        assert prove(tree).changed == (DECODER,)
