"""Nothing depends on where the program is started: strange folders, names, locales, homes, caches and terminals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

from tests.conftest import clean_environment
from tests.hostile import hostile_folder, imported

SAM3PORT = Path(sys.executable).parent / "sam3port"
"""The program, not `python -m`, which puts the working folder on its own path."""
STRANGE = "my phötos 写真 (1)"
COMPONENT = ("scoring_head", "--preset", "tiny")
NOWHERE = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
WITHOUT_NETWORK = {"PIP_INDEX_URL": NOWHERE, **dict.fromkeys(PROXIES, NOWHERE)}
"""Nobody is asked for anything once upstream is there. How fetching it fails: tests/upstream/test_registry.py."""
Ended = subprocess.CompletedProcess[str]
posix = pytest.mark.skipif(os.name == "nt", reason="as POSIX systems have it")


class Place:
    """A folder with a strange name and stray modules, on a machine without network.

    Its temporary files and cache lie in strange folders, too.
    """

    def __init__(self, folder: Path, upstream: Path) -> None:
        self.folder = hostile_folder(folder / STRANGE)
        self.environment = {
            **WITHOUT_NETWORK,
            "SAM3PORT_UPSTREAM": str(upstream),
            "SAM3PORT_CACHE": str(folder / f"cache of {STRANGE}"),
            "TMPDIR": str(folder / f"temporary {STRANGE}"),
        }
        Path(self.environment["TMPDIR"]).mkdir()

    def run(self, *words: str | Path, prefix: tuple[str, ...] = (), **changes: str | None) -> Ended:
        """Runs ``sam3port WORDS`` there. A variable that is None is not set."""
        merged: dict[str, str | None] = {**clean_environment(**self.environment), **changes}
        ran = subprocess.run(
            [*prefix, str(SAM3PORT), *map(str, words)],
            cwd=self.folder,
            env={name: value for name, value in merged.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=600,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        assert imported(self.folder) == []
        return ran

    def passes(self, *words: str | Path, **options: Any) -> Ended:
        ran = self.run(*words, **options)
        assert ran.returncode == 0, ran.stderr
        return ran

    def complains(self, *words: str | Path, status: int, problem: str, remedy: str, **options: Any) -> None:
        """It ends with this status, one line that says what is wrong, and one that says what to do."""
        ran = self.run(*words, **options)
        assert ran.returncode == status, ran.stderr
        *_, last, advice = ran.stderr.splitlines()
        assert last.startswith("sam3port: ") and problem in last, ran.stderr
        assert advice.startswith("  -> ") and remedy in advice, ran.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, upstream_root: Path) -> Place:
    """Its cache holds the component, which every test builds again from there."""
    place = Place(tmp_path_factory.mktemp("anywhere"), upstream_root)
    place.passes("build", *COMPONENT, "--out", "first")
    return place


@pytest.mark.parametrize("command", ["patches", "apply-patches", "components", "doctor"])
def test_commands_among_stray_modules(place: Place, command: str) -> None:
    place.passes(command)


def test_a_copy_among_stray_modules(place: Place) -> None:
    place.passes("apply-patches", "--write", "a copy")
    assert (place.folder / "a copy" / "sam3" / "__init__.py").is_file()


def test_a_proof_among_stray_modules(place: Place) -> None:
    (place.folder / "matplotlibrc").write_text("backend: no such backend\n", encoding="utf-8")
    place.passes("verify", *COMPONENT, "--seeds", "1", "--report", "the report ü")
    assert json.loads((place.folder / "the report ü" / "verification_report.json").read_bytes())["passed"] is True


def test_a_contest_among_stray_modules(place: Place) -> None:
    ran = place.passes("bench", *COMPONENT, "--against", "torch", "--rounds", "1", "--json")
    assert "scoring_head" in ran.stdout


def test_a_search_among_stray_modules(place: Place) -> None:
    """Its builder and runner are TVM's, which start Python themselves."""
    pytest.importorskip("cloudpickle")
    pytest.importorskip("tornado")
    database = place.folder / "tuned ü.jsonl"
    words = ("--workloads", "1", "--trials", "1", "--database", database.name)
    place.passes("tune", *COMPONENT, *words)
    assert database.is_file()


def test_an_artifact_among_stray_modules(place: Place, tiny_artifact: Path) -> None:
    artifact = place.folder / "the artifact ü"
    shutil.copytree(tiny_artifact, artifact)
    Image.fromarray(skimage.data.astronaut()).save(place.folder / "fóto 1.png")
    words = ["--artifact", artifact.name, "--text", "Astronautin mit weißem Helm", "--out", "masks ü"]
    place.passes("segment", "fóto 1.png", *words)
    assert (place.folder / "masks ü" / "fóto 1.overlay.png").is_file()
    shutil.rmtree(artifact)


@posix
@pytest.mark.parametrize("streams", ["", "<&- >&- 2>&-"], ids=["no terminal", "no streams"])
def test_by_a_daemon(place: Place, streams: str) -> None:
    """Without home, terminal and locale, for itself alone. The system's list of users names a home."""
    script = f'umask 077; exec setsid "$0" "$@" {streams}'
    words = ("build", *COMPONENT, "--out", "ö")
    place.passes(*words, prefix=("sh", "-c", script), LC_ALL="C", LANG=None, HOME=None, XDG_CACHE_HOME=None)
    out = place.folder / "ö"
    assert (out / "scoring_head").is_dir() and out.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(out)


@posix
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream(place: Place, closed: str) -> None:
    place.passes("patches", prefix=("sh", "-c", f'exec "$0" "$@" {closed}'))


@posix
def test_where_names_are_ascii(place: Place, tmp_path: Path) -> None:
    """Only if the user asks for it. torch and TVM would look for other files, or say nothing that one understands."""
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ("build", *COMPONENT, "--out")
    place.complains(*words, "ö", status=2, problem="is not ascii", remedy="PYTHONUTF8=1", **ascii_names)
    plain = Place(tmp_path, Path(place.environment["SAM3PORT_UPSTREAM"]))
    plain.folder, plain.environment["SAM3PORT_CACHE"] = tmp_path, str(tmp_path)
    plain.environment["TMPDIR"] = str(tmp_path)
    plain.passes("patches", **ascii_names)
    plain.complains("segment", "x.png", "--text", "ö", status=2, problem="ascii", remedy="PYTHONUTF8=1", **ascii_names)


@posix
def test_names_that_are_not_utf_8(place: Place) -> None:
    name = os.fsdecode(b"\xff")
    words = ("build", *COMPONENT, "--out", name)
    place.complains(*words, status=2, problem="'\\udcff' is not utf-8", remedy="rename it")


@pytest.fixture(scope="module")
def nobody() -> tuple[str, ...]:
    """Words that run a command as a user whom the system does not know, as containers do."""
    words = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody be an unknown user (unshare --user)")
    return words


def test_a_user_without_a_home(place: Place, nobody: tuple[str, ...]) -> None:
    """TVM cannot even be imported."""
    options: dict[str, Any] = {"prefix": nobody, "HOME": None, "XDG_CACHE_HOME": None}
    place.complains("build", *COMPONENT, status=2, problem="no home folder", remedy="set HOME", **options)
    place.complains("patches", status=2, problem="no home", remedy="set HOME", **options, SAM3PORT_CACHE=None)


def test_an_unknown_user_in_a_home_that_cannot_be_written(
    place: Place, nobody: tuple[str, ...], tmp_path: Path
) -> None:
    """As in a container that runs as some number: HOME is ``/`` there."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o555)
    options: dict[str, Any] = {"prefix": nobody, "HOME": str(home), "XDG_CACHE_HOME": None}
    place.passes("build", *COMPONENT, "--out", "unknown user", **options)
    options["SAM3PORT_CACHE"] = None
    cannot = f"the cache cannot be written: {home}"
    place.complains("build", *COMPONENT, status=2, problem=cannot, remedy="SAM3PORT_CACHE", **options)


@pytest.fixture(params=["below a file", "in a system's folder"])
def no_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder in which nobody can write, root included."""
    if request.param == "below a file":
        (tmp_path / "file").write_bytes(b"")
        return tmp_path / "file" / "cache"
    folder = Path("/sys/sam3port")
    if not folder.parent.is_dir():
        pytest.skip("this system has no /sys")
    return folder


def test_a_cache_that_cannot_be_written(place: Place, no_cache: Path, tiny_artifact: Path) -> None:
    words = ("build", *COMPONENT)
    cannot = f"the cache cannot be written: {no_cache}"
    place.complains(*words, status=2, problem=cannot, remedy="SAM3PORT_CACHE", SAM3PORT_CACHE=str(no_cache))
    Image.fromarray(skimage.data.astronaut()).save(place.folder / "photo.png")
    place.passes("segment", "photo.png", "--artifact", tiny_artifact, "--text", "x", SAM3PORT_CACHE=str(no_cache))


def test_an_output_that_cannot_be_written(place: Place) -> None:
    (place.folder / "a file").write_bytes(b"")
    place.complains("build", *COMPONENT, "--out", "a file/x", status=2, problem="a file", remedy="--out")


@posix
def test_a_disk_error_that_nobody_foresaw(place: Place) -> None:
    words = ("apply-patches", "--write", "big")
    limited = ("bash", "-c", 'ulimit -f 1; exec "$0" "$@"')
    ran = place.run(*words, prefix=limited)
    assert ran.returncode == 1 and "File too large" in ran.stderr.splitlines()[-2], ran.stderr


@posix
def test_a_working_folder_that_was_removed(place: Place, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    prefix = ("sh", "-c", f'cd "{gone}" && rmdir "{gone}" && exec "$0" "$@"')
    place.complains("doctor", status=2, problem="working folder does not exist", remedy="go to", prefix=prefix)
