"""The copy in the user's cache: from the real package index, whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sam3port.upstream import manifest, pin
from tests.upstream.conftest import Project

Change = Callable[[Project], Project]

ENSURE = """
import sys
from sam3port.errors import Sam3PortError
from sam3port.upstream.source import ensure
try:
    print(ensure(report=lambda line: print("said:", line, flush=True)))
except Sam3PortError as error:
    sys.exit(f"problem: {error.problem}\\nremedy: {error.remedy}")
"""

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def assert_whole(project: Project) -> None:
    """Every byte of the manifest and no more, nothing left over, and proved from outside by git."""
    copy = project.cached_copy
    files = {file.relative_to(copy).as_posix() for file in copy.rglob("*") if file.is_file()}
    assert files == set(manifest.blobs())
    names = sorted(files)
    said = subprocess.run(
        ["git", "hash-object", "--no-filters", "--stdin-paths"],
        input="\n".join(names),
        cwd=copy,
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(names, said.stdout.split(), strict=True)) == manifest.blobs()
    assert project.leftovers() == []


def wait_for(condition: Callable[[], object], limit: float = 60) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_from_the_package_index(project: Project) -> None:
    result = project.run("-c", ENSURE)
    assert result.returncode == 0, result.stderr
    assert_whole(project)
    assert "SAM License" in (project.cached_copy / "LICENSE").read_text(encoding="utf-8")
    installed = project.run("-c", "import importlib.util as u; print(u.find_spec('sam3'), u.find_spec('open_clip'))")
    assert installed.stdout.split() == ["None", "None"]

    again = project.run("-c", ENSURE)
    assert again.returncode == 0
    assert "said:" not in again.stdout


def test_several_processes_at_once(project: Project) -> None:
    running = [project.start("-c", ENSURE) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert sum("said: fetching" in output for output in outputs) == 1, outputs
    assert_whole(project)


def kill_at(moment: str) -> str:
    """Code that fetches, and kills its own process (no clean-up runs) at a moment of the real work."""
    return f"""
import os, signal, pathlib
from sam3port.upstream import registry
count = 0
def kill_before(function, number, when):
    def wrapped(*arguments, **options):
        global count
        count += when(*arguments)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapped
if {moment!r} == "downloaded":
    registry._checked = kill_before(registry._checked, 1, lambda *_: True)
elif {moment!r} == "unpacking":
    pathlib.Path.write_bytes = kill_before(pathlib.Path.write_bytes, 70, lambda *_: True)
elif {moment!r} == "renaming":
    pathlib.Path.rename = kill_before(pathlib.Path.rename, 1, lambda source, _: source.name == "tree")
elif {moment!r} == "renamed":
    registry.shutil.rmtree = kill_before(registry.shutil.rmtree, 1, lambda *_: True)
""" + ENSURE.replace("import ensure", "import ensure  # the real one")


@posix
@pytest.mark.parametrize("moment", ["downloaded", "unpacking", "renaming", "renamed"])
def test_killed_at(project: Project, from_wheelhouse: Change, moment: str) -> None:
    project = from_wheelhouse(project)
    assert project.run("-c", kill_at(moment)).returncode == -signal.SIGKILL
    assert project.leftovers()
    assert project.cached_copy.exists() == (moment == "renamed")

    result = project.run("-c", ENSURE)
    assert result.returncode == 0, result.stderr
    if moment == "renamed":  # whole already; what is left over goes with the next fetch
        assert "said:" not in result.stdout
        shutil.rmtree(project.cached_copy)
        assert project.run("-c", ENSURE).returncode == 0
    assert_whole(project)


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_from_outside_while_pip_runs(project: Project, number: signal.Signals) -> None:
    process = project.start("-c", ENSURE)
    fetching = psutil.Process(process.pid)
    wait_for(lambda: any("download" in child.cmdline() for child in fetching.children()))
    time.sleep(0.1)  # pip runs, and subprocess.run is past the moment at which an interrupt would lose it
    pip = fetching.children()
    assert pip
    assert project.leftovers()
    process.send_signal(number)
    process.communicate(timeout=60)
    psutil.wait_procs(pip, timeout=60)  # after -9 nobody ends it
    assert process.returncode != 0
    assert not project.cached_copy.exists()
    if number == signal.SIGINT:
        assert project.leftovers() == []

    result = project.run("-c", ENSURE)
    assert result.returncode == 0, result.stderr
    assert_whole(project)


def test_without_network_it_fails_at_once_and_says_what_to_do(project: Project, without_network: Change) -> None:
    project = without_network(project)
    started = time.monotonic()
    result = project.run("-c", ENSURE, timeout=30)
    print(f"without a network it took {time.monotonic() - started:.1f} s")
    assert result.returncode == 1
    assert "problem: sam3 cannot be fetched from the package index" in result.stderr
    assert "sam3==0.1.0" in result.stderr
    remedy = result.stderr.partition("remedy: ")[2]
    assert "check the network" in remedy
    assert "SAM3PORT_UPSTREAM" in remedy
    assert pin.COMMIT in remedy
    assert "Traceback" not in result.stderr
    assert not project.cached_copy.exists()
    assert project.leftovers() == []


def test_a_wheel_with_other_bytes_is_refused(project: Project, from_wheelhouse: Change, tmp_path: Path) -> None:
    """The files inside are all right: the wheel's own sha256 decides."""
    project = from_wheelhouse(project)
    forged = tmp_path / "forged"
    shutil.copytree(project.environment["PIP_FIND_LINKS"], forged)
    (wheel,) = forged.glob("sam3-*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("sam3/new.py", "")
    result = project.run("-c", ENSURE, PIP_FIND_LINKS=str(forged))
    assert result.returncode == 1
    assert re.search(rf"problem: {wheel.name} .* has sha256 [0-9a-f]{{64}}, not {pin.WHEELS[0].sha256}", result.stderr)
    assert "remedy: ask who runs the index" in result.stderr
    assert not project.cached_copy.exists()
    assert project.leftovers() == []


def test_an_index_that_lacks_one_wheel(project: Project, from_wheelhouse: Change, tmp_path: Path) -> None:
    project = from_wheelhouse(project)
    partial = tmp_path / "partial"
    shutil.copytree(project.environment["PIP_FIND_LINKS"], partial)
    for wheel in partial.glob("open_clip*"):
        wheel.unlink()
    result = project.run("-c", ENSURE, PIP_FIND_LINKS=str(partial))
    assert result.returncode == 1
    assert "open_clip_torch==3.3.0" in result.stderr
    assert not project.cached_copy.exists()


def test_a_python_without_pip(project: Project) -> None:
    result = project.run("-c", "import sys\nsys.modules['pip'] = None\n" + ENSURE)
    assert result.returncode == 1
    assert "has no pip" in result.stderr
    assert "-m ensurepip" in result.stderr


def test_a_cache_that_cannot_be_written(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = project.run("-c", ENSURE, SAM3PORT_CACHE=str(tmp_path / "file" / "below"))
    assert result.returncode == 1
    assert "problem: the cache cannot be written" in result.stderr
    assert "remedy: set SAM3PORT_CACHE" in result.stderr


def test_a_damaged_copy_is_named_and_only_an_explicit_fetch_replaces_it(
    project: Project, from_wheelhouse: Change
) -> None:
    project = from_wheelhouse(project)
    assert project.run("-c", ENSURE).returncode == 0
    (project.cached_copy / "sam3" / "model" / "decoder.py").write_text("changed = True\n")
    (project.cached_copy / "sam3" / "new.py").touch()
    assert project.run("-c", ENSURE).returncode == 0

    verify = project.run("-m", "sam3port", "upstream", "verify")
    assert verify.returncode == 1
    assert "changed: sam3/model/decoder.py; extra: sam3/new.py" in verify.stderr
    assert "`sam3port upstream fetch`" in verify.stderr

    fetch = project.run("-m", "sam3port", "upstream", "fetch")
    assert fetch.returncode == 0, fetch.stderr
    assert "was not as pinned: it is replaced" in fetch.stderr
    shutil.rmtree(project.cached_copy / "sam3" / "__pycache__", ignore_errors=True)
    assert_whole(project)
    assert project.run("-m", "sam3port", "upstream", "verify").returncode == 0
