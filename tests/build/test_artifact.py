"""The artifact as a folder: complete, described, whole whatever happens, and never in the place of something else."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from sam3port.artifact.manifest import read
from sam3port.build.artifact import refuse_to_replace
from sam3port.build.components import default_store
from sam3port.build.keys import link_key, stage_keys
from sam3port.build.request import BuildRequest
from sam3port.build.requirements import requirements
from sam3port.cache.store import Store, link
from sam3port.compiler.entries import ENTRIES, linked_components
from sam3port.compiler.stage import Stage
from sam3port.errors import UsageError
from sam3port.machine.features import missing_features
from sam3port.machine.place import place
from sam3port.model.preset import preset
from sam3port.patching.install import make_plan
from sam3port.tuning.sources import usual_schedules
from sam3port.upstream import pin
from sam3port.upstream.places import cached_copies
from sam3port.upstream.source import Upstream
from tests.conftest import clean_environment

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits")


def digests(folder: Path) -> dict[str, str]:
    """Of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def command(out: Path, *arguments: str) -> list[str]:
    seeded = ("--preset", "tiny", "--seed", "0")
    return [sys.executable, "-m", "sam3port", "build", *seeded, "--out", str(out), *arguments]


def build(
    out: Path, *arguments: str, limit: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a build to its end."""
    return subprocess.run(
        command(out, *arguments),
        env=clean_environment(**environment),
        cwd=out.parent if out.parent.is_dir() else None,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=600,
    )


def last(said: str) -> str:
    """The error at the end of what a build prints."""
    return said[said.rindex("sam3port: ") :]


@pytest.fixture(scope="module", autouse=True)
def _in_cache(tiny_artifact: Path) -> None:
    """A build of the same takes seconds."""
    assert tiny_artifact.is_dir()


@pytest.fixture(scope="module")
def manifest(tiny_artifact: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tiny_artifact / "manifest.json").read_text(encoding="utf-8"))
    return content


def test_every_file_is_listed_with_its_hash_and_size(tiny_artifact: Path, manifest: dict[str, Any]) -> None:
    found = digests(tiny_artifact)
    del found["manifest.json"]
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == found
    for name, entry in manifest["files"].items():
        assert (tiny_artifact / name).stat().st_size == entry["bytes"]
    parameters = {f"params/{name}.safetensors" for name in linked_components()}
    assert set(found) == {"model.so", "tokenizer.json", "SAM_LICENSE.txt", "requirements.txt", *parameters}


def test_the_manifest_says_what_was_built(manifest: dict[str, Any], upstream_source: Upstream) -> None:
    sizes = preset("tiny")
    assert (manifest["format"], manifest["kind"], manifest["sam3port"]) == (1, "sam3port artifact", version("sam3port"))
    assert (manifest["preset"], manifest["dtype"], manifest["weights"]) == ("tiny", "float32", {"seed": 0})
    assert manifest["upstream"] == pin.COMMIT == upstream_source.commit
    assert "float_rope" in manifest["patches"]
    assert manifest["capacity"] == {"prompts": 1, "points": 8, "boxes": 8}
    assert manifest["sizes"] == {
        "image_size": sizes.image_size,
        "mask_size": sizes.mask_size,
        "num_queries": sizes.num_queries,
        "text_context": sizes.text_context,
    }
    assert manifest["versions"]["torch"] == version("torch")
    assert list(manifest["entries"]) == [entry.name for entry in ENTRIES]
    for entry in ENTRIES:
        described = manifest["entries"][entry.name]
        assert [spec["name"] for spec in described["inputs"]] == list(entry.inputs)
        assert described["parameters"] == list(entry.components)
    image = manifest["entries"]["encode_image"]["inputs"][0]
    assert (image["shape"], image["dtype"]) == ([1, 3, sizes.image_size, sizes.image_size], "float32")


def test_the_manifest_says_where_it_runs(manifest: dict[str, Any]) -> None:
    target = manifest["target"]
    assert (target["name"], target["device"]) == ("cpu", "cpu")
    assert (target["system"], target["machine"]) == (platform.system(), platform.machine())
    assert target["tvm"]["kind"] == "llvm"
    assert target["cpu_features"]
    assert missing_features(target["cpu_features"]) == []


def test_the_runtime_reads_the_same(tiny_artifact: Path, manifest: dict[str, Any]) -> None:
    found = read(tiny_artifact)
    assert found.library == "model.so"
    assert {name: list(entry.parameters) for name, entry in found.entries.items()} == {
        name: entry["parameters"] for name, entry in manifest["entries"].items()
    }
    assert [spec.shape for spec in found.entries["ground"].outputs] == [
        tuple(spec["shape"]) for spec in manifest["entries"]["ground"]["outputs"]
    ]


def test_license_and_requirements(tiny_artifact: Path, upstream_root: Path) -> None:
    assert (tiny_artifact / "SAM_LICENSE.txt").read_bytes() == (upstream_root / "LICENSE").read_bytes()
    text = (tiny_artifact / "requirements.txt").read_text(encoding="utf-8")
    assert text == requirements()


def test_nothing_is_left_beside_it_but_the_lock(tiny_artifact: Path, tmp_path: Path) -> None:
    done = build(tmp_path / "place" / "artifact")
    assert done.returncode == 0, done.stderr
    assert "link      cached" in done.stderr
    assert sorted(path.name for path in (tmp_path / "place").iterdir()) == [".artifact.lock", "artifact"]
    assert digests(tmp_path / "place" / "artifact") == digests(tiny_artifact)


def test_weights_take_no_room_twice(tiny_artifact: Path) -> None:
    files = [tiny_artifact / "model.so", *(tiny_artifact / "params").iterdir()]
    assert all(file.stat().st_nlink > 1 or file.stat().st_dev != _cache_device() for file in files)


def _cache_device() -> int:
    return default_store().root.stat().st_dev


# What is interrupted


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An artifact in a folder of its own, from the cache."""
    place = tmp_path / "place"
    place.mkdir()
    done = build(place / "artifact")
    assert done.returncode == 0, done.stderr
    return place / "artifact"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that lacks machine code and the library, so that the next build works at them for some time."""
    request = BuildRequest(linked_components(), until=Stage.KERNELS, tuned=usual_schedules())
    keys = stage_keys(request, make_plan(None, frozenset()))
    store = Store(tmp_path / "cache" / "builds")
    theirs = default_store()
    assert theirs.find(link_key(request, keys)) is not None
    for key in (key for stages in keys.values() for stage, key in stages.items() if stage is not Stage.KERNELS):
        entry = theirs.find(key)
        assert entry is not None
        new = store.begin()
        for file in entry.iterdir():
            link(file, new / file.name)
        store.commit(new, key)
    (tmp_path / "cache" / "upstream").symlink_to(cached_copies())
    return tmp_path / "cache"


def linking(out: Path, cache: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A build that compiles and links, and its workers."""
    process = subprocess.Popen(
        command(out),
        env=clean_environment(SAM3PORT_CACHE=str(cache)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        workers = psutil.Process(process.pid).children(recursive=True)
        if any("sam3port.build.worker" in worker.cmdline() for worker in workers):
            return process, workers
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no worker was started: {process.communicate()[1]}")


@POSIX
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_while_linking_the_old_one_is_whole(old: Path, cache: Path, sent: signal.Signals) -> None:
    before = digests(old)
    process, workers = linking(old, cache)
    process.send_signal(sent)
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said, said
    # CPython ends itself by SIGINT when that came while it executed a string (a namedtuple is made so): 130 to a shell.
    assert process.returncode in ({130, -2} if sent is signal.SIGINT else {-9}), said
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert digests(old) == before
    assert build(old).returncode == 0
    assert digests(old) == before


@POSIX
def test_of_two_builds_at_once_the_second_waits(old: Path, cache: Path) -> None:
    before = digests(old)
    first, _ = linking(old, cache)
    second = subprocess.Popen(command(old), env=clean_environment(), stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    lines = iter(second.stderr.readline, "")
    assert any("another build is working" in line for line in lines)
    assert second.poll() is None
    first.kill()
    first.communicate()
    assert "link      cached" in second.stderr.read()
    assert second.wait(60) == 0
    second.stderr.close()
    assert digests(old) == before


@POSIX
def test_a_full_disk_is_said_and_the_old_one_is_whole(old: Path) -> None:
    before = digests(old)

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = build(old, limit=no_large_files)
    assert done.returncode == 1
    assert "artifact: File too large\n  -> make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert digests(old) == before
    assert sorted(path.name for path in old.parent.iterdir()) == [".artifact.lock", "artifact"]


# What is refused


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = build(tmp_path / "file" / "artifact")
    assert done.returncode == 2
    assert re.fullmatch(r"sam3port: \S*file: File exists\n  -> choose another folder with --out.*\n", last(done.stderr))
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    done = build(tmp_path / "closed" / "artifact")
    assert done.returncode == 2
    assert "closed" in done.stderr
    assert "Permission denied" in done.stderr


def test_something_else_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "cat.jpg").write_text("a cat")
    done = build(folder)
    assert done.returncode == 2
    assert "photographs holds something that is no part of an artifact: cat.jpg" in done.stderr
    assert digests(folder).keys() == {"cat.jpg"}
    assert [path.name for path in tmp_path.iterdir()] == ["photographs"]


def test_an_artifact_with_something_of_somebodys_is_not_replaced(old: Path) -> None:
    refuse_to_replace(old)
    (old / "params" / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"no part of an artifact: params/notes\.txt\n"):
        refuse_to_replace(old)


def test_a_link_to_somewhere_is_something_too(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse_to_replace(tmp_path)
    (tmp_path / "empty" / "album").symlink_to(Path.home())
    with pytest.raises(UsageError, match="no part of an artifact: empty/album"):
        refuse_to_replace(tmp_path)


def test_another_programs_manifest_is_something_else(tmp_path: Path) -> None:
    manifest = {"kind": "web app", "files": {"a": {}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "a").touch()
    with pytest.raises(UsageError, match=r"a, manifest\.json"):
        refuse_to_replace(tmp_path)


def test_files_and_the_current_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is no folder"):
        refuse_to_replace(tmp_path / "file")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for folder in (tmp_path / "here", tmp_path):
        with pytest.raises(UsageError, match="the current folder"):
            refuse_to_replace(folder)
    refuse_to_replace(tmp_path / "here" / "new")


def test_components_do_not_go_into_an_artifact(old: Path) -> None:
    before = digests(old)
    done = build(old, "scoring_head")
    assert done.returncode == 2
    assert "artifact holds an artifact" in done.stderr
    assert digests(old) == before


# Names of machines


@pytest.mark.parametrize(
    ("triple", "found"),
    [
        ("x86_64-unknown-linux-gnu", ("Linux", "x86_64")),
        ("aarch64-linux-gnu", ("Linux", "aarch64")),
        ("arm64-apple-macos", ("Darwin", "arm64")),
        ("arm64-apple-darwin23.1.0", ("Darwin", "arm64")),
        ("aarch64-apple-macos14", ("Darwin", "arm64")),
        ("", (platform.system(), platform.machine())),
    ],
)
def test_triples_by_pythons_names(triple: str, found: tuple[str, str]) -> None:
    assert place(triple) == found
