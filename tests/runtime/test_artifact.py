"""What is opened is whole and made for this machine; anything else is said in a line or two, before anything runs."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam3port.artifact import manifest
from sam3port.artifact.hashes import Hashes
from sam3port.errors import UsageError
from sam3port.runtime.artifact import open_artifact


def refused(folder: Path, said: str, check: bool = False) -> str:
    """Opening fails with these words (a regular expression), in two lines at most."""
    with pytest.raises(UsageError, match=said) as caught:
        open_artifact(folder, check)
    assert str(caught.value).count("\n") <= 1, str(caught.value)
    return str(caught.value)


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the manifest."""
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_the_artifact_as_built_is_opened(tiny_artifact: Path) -> None:
    artifact = open_artifact(tiny_artifact)
    found = artifact.manifest
    assert found.preset == "tiny"
    assert found.sizes == manifest.Sizes(image_size=112, mask_size=32, num_queries=20, text_context=32)
    assert (found.target.system, found.target.machine) == (platform.system(), platform.machine())
    assert set(found.entries) == {*manifest.ENTRIES, *manifest.LATER}
    assert {file.relative_to(tiny_artifact).as_posix() for file in tiny_artifact.rglob("*") if file.is_file()} == {
        "manifest.json",
        *found.files,
    }


def test_no_artifact_is_said(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "absent does not exist")
    refused(tmp_path, r"is no artifact \(manifest\.json is missing\)")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is no folder")
    (tmp_path / "manifest.json").mkdir()
    refused(tmp_path, "cannot be read: Is a directory")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "does not describe a sam3port artifact"),
        (b'{"kind": "sam3port component"}', "does not describe a sam3port artifact"),
        (b'{"kind": "sam3port artifact"}', "unknown format None"),
        (b'{"kind": "sam3port artifact", "format": 1}', "is damaged: .* is missing"),
    ],
)
def test_a_manifest_that_is_none_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    refused(tmp_path, said)


def test_every_value_of_the_manifest_is_needed_and_its_type_checked(copy_of_artifact: Path) -> None:
    file = copy_of_artifact / "manifest.json"
    original = json.loads(file.read_text())
    places = [[name] for name in original if name != "patches"]
    places += [["sizes", name] for name in original["sizes"]] + [["capacity", name] for name in original["capacity"]]
    places += [["target", name] for name in original["target"] if name != "tvm"]
    entries = (*manifest.ENTRIES, *manifest.LATER)
    places += [["entries", name, part] for name in entries for part in ("inputs", "outputs", "parameters")]
    places += [["files", "model.so", part] for part in ("sha256", "bytes")]
    assert len(places) > 30
    for *above, last in places:
        for wrong in (None, 1.5, True, [[]]):
            content = json.loads(json.dumps(original))
            holder = content
            for name in above:
                holder = holder[name]
            if wrong is None:
                del holder[last]
            else:
                holder[last] = wrong
            file.write_text(json.dumps(content))
            refused(copy_of_artifact, "damaged|unknown format|does not describe")


@pytest.mark.parametrize(
    ("format_", "said"),
    [(2, r"made by a newer sam3port \(9\.8\.7\); this one reads format 1"), (0, "unknown format 0"), ("1", "'1'")],
)
def test_other_formats_are_said(copy_of_artifact: Path, format_: object, said: str) -> None:
    edit(copy_of_artifact, lambda content: content.update(format=format_, sam3port="9.8.7"))
    refused(copy_of_artifact, said)


@pytest.mark.parametrize("name", ["../model.so", "/etc/passwd", "params/../../x", "a\\b", "C:x", "./model.so", ""])
def test_files_outside_the_artifact_are_refused(copy_of_artifact: Path, name: str) -> None:
    def add(content: dict[str, Any]) -> None:
        content["files"][name] = content["files"]["model.so"]

    edit(copy_of_artifact, add)
    refused(copy_of_artifact, "no path within the artifact")


def test_each_file_is_needed_whole_and_unchanged(copy_of_artifact: Path) -> None:
    names = sorted(manifest.read(copy_of_artifact).files)
    assert len(names) >= 12
    for name in names:
        file = copy_of_artifact / name
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        assert name in refused(copy_of_artifact, "is cut off")
        file.write_bytes(b"")
        refused(copy_of_artifact, "is cut off")
        file.write_bytes(content + b"\n")
        refused(copy_of_artifact, "is too long")
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        assert name in refused(copy_of_artifact, "is damaged: its sha256")
        file.unlink()
        assert name in refused(copy_of_artifact, "is missing")
        file.mkdir()
        refused(copy_of_artifact, "is missing")
        file.rmdir()
        file.write_bytes(content)
        open_artifact(copy_of_artifact)


def test_weights_of_the_same_size_cannot_be_swapped(copy_of_artifact: Path) -> None:
    params = copy_of_artifact / "params"
    one, other = params / "geometry_encoder.safetensors", params / "transformer_encoder.safetensors"
    shutil.copyfile(other, one)

    def pretend(content: dict[str, Any]) -> None:
        files = content["files"]
        files[f"params/{one.name}"]["bytes"] = files[f"params/{other.name}"]["bytes"]

    edit(copy_of_artifact, pretend)
    refused(copy_of_artifact, "geometry_encoder.*sha256")


def test_what_the_manifest_does_not_list_is_not_used(copy_of_artifact: Path) -> None:
    edit(copy_of_artifact, lambda content: content["files"].pop("params/scoring_head.safetensors"))
    refused(copy_of_artifact, "does not list params/scoring_head")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"system": "Darwin", "machine": "arm64"}, "was built for Darwin arm64, this machine is"),
        ({"machine": "riscv64"}, "was built for .* riscv64"),
        ({"cpu_features": ["avx2", "avx1024"]}, "needs a CPU with .*avx1024"),
        ({"device": "cuda"}, "runs on the device cuda"),
        ({"device": "quantum"}, "runs on the device quantum"),
        ({"device": ""}, "runs on the device"),
    ],
)
def test_another_machines_artifact_is_refused(copy_of_artifact: Path, change: dict[str, Any], said: str) -> None:
    import tvm

    if change.get("device") == "cuda" and tvm.cuda().exist:
        pytest.skip("this machine has a CUDA device")
    edit(copy_of_artifact, lambda content: content["target"].update(change))
    refused(copy_of_artifact, said)


def test_another_tvms_artifact_is_refused(copy_of_artifact: Path) -> None:
    edit(copy_of_artifact, lambda content: content["versions"].update({"apache-tvm": "0.99.1"}))
    said = refused(copy_of_artifact, r"built with TVM 0\.99\.1, this machine has")
    assert f'pip install -r "{copy_of_artifact / "requirements.txt"}"' in said
    edit(copy_of_artifact, lambda content: content["versions"].pop("apache-tvm"))
    refused(copy_of_artifact, "no version of apache-tvm")


class TestHashes:
    def test_are_computed_once(self, copy_of_artifact: Path) -> None:
        """A changed byte with the old size and time is what a program that looks at them only cannot see."""
        open_artifact(copy_of_artifact)
        file = copy_of_artifact / "tokenizer.json"
        before = file.stat()
        content = file.read_bytes()
        file.write_bytes(b"X" + content[1:])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        open_artifact(copy_of_artifact)
        refused(copy_of_artifact, "sha256", check=True)
        os.utime(file)
        refused(copy_of_artifact, "sha256")

    def test_are_sha256(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("1")
        first = Hashes(tmp_path)
        assert first.of("a") == first.of("a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"

    def test_what_is_remembered_does_not_help_an_edited_manifest(self, copy_of_artifact: Path) -> None:
        open_artifact(copy_of_artifact)
        edit(copy_of_artifact, lambda content: content["files"]["model.so"].update(sha256="0" * 64))
        refused(copy_of_artifact, r"model\.so is damaged: its sha256")

    def test_a_cache_that_cannot_be_written_is_no_harm(
        self, copy_of_artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (copy_of_artifact.parent / "cache").write_text("not a folder")
        open_artifact(copy_of_artifact)
        file = copy_of_artifact / "tokenizer.json"
        file.write_bytes(b"X" + file.read_bytes()[1:])
        refused(copy_of_artifact, "sha256")

    @pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"model.so": 5}}'])
    def test_a_damaged_cache_is_no_harm(self, copy_of_artifact: Path, text: str) -> None:
        open_artifact(copy_of_artifact)
        (memory,) = (copy_of_artifact.parent / "cache" / "artifacts").iterdir()
        memory.write_text(text)
        open_artifact(copy_of_artifact)
        assert json.loads(memory.read_text())["files"]["model.so"]["sha256"]
