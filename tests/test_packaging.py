"""The wheel holds everything, works where the checkout is not, and brings what running an artifact needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import clean_environment
from tests.environments import ROOT, runtime_programs, sam3port_wheel

__all__ = ["runtime_programs", "sam3port_wheel"]


def test_the_wheel_holds_every_module_and_nothing_else(sam3port_wheel: Path) -> None:
    names = set(zipfile.ZipFile(sam3port_wheel).namelist())
    source = sam3port_wheel.parent / "source"
    ours = {f.relative_to(source).as_posix() for f in (source / "sam3port").rglob("*.py")}
    patches = {f"sam3port/patches/{f.name}" for f in (source / "patches").glob("*.py")}
    assert len(ours) > 20 and len(patches) > 5
    assert ours | patches <= names, sorted((ours | patches) - names)
    assert "sam3port/model/data/tiny.safetensors" in names
    assert {"sam3port/py.typed", "sam3port/upstream/manifest.txt", "sam3port/serve/openapi.json"} <= names
    page = (source / "sam3port" / "serve" / "page").iterdir()
    assert {f"sam3port/serve/page/{file.name}" for file in page} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sam3port"}
    licences = {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def run(programs: Path, *command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A program of an environment, with what it asks for, and nothing of this one's settings."""
    return subprocess.run(
        [str(programs / command[0]), *command[1:]],
        cwd=cwd,
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_installed_wheel_is_what_runs(runtime_programs: Path, tmp_path: Path) -> None:
    code = "import sam3port, sam3port.patches; print(sam3port.__file__, sam3port.patches.__file__, sep='\\n')"
    ran = run(runtime_programs, "python", "-c", code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert all(Path(file).is_relative_to(runtime_programs.parent) for file in ran.stdout.splitlines()), ran.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("build", "--help"), ("patches",), ("patches", "float_rope"), ("components",)],
)
def test_what_needs_no_torch_works_without(runtime_programs: Path, arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(runtime_programs, "sam3port", *arguments, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout and not ran.stderr


def test_the_patches_text_needs_no_torch(runtime_programs: Path, upstream_root: Path, tmp_path: Path) -> None:
    given = ("apply-patches", "--upstream", str(upstream_root))
    shown = run(runtime_programs, "sam3port", *given, "--diff", "pin_memory", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "+++" in shown.stdout
    written = run(runtime_programs, "sam3port", *given, "--write", "copy", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "copy" / "LICENSE").is_file()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("apply-patches",), "build"),
        (("apply-patches", "--activate"), "build"),
        (("bench",), "build"),
        (("build",), "build"),
        (("components", "text_encoder"), "build"),
        (("demo",), "build"),
        (("run", "script.py"), "build"),
        (("tune",), "tune"),
        (("verify",), "build"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_needs_more_says_so(
    runtime_programs: Path, arguments: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    ran = run(runtime_programs, "sam3port", *arguments, cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    problem, remedy = ran.stderr.splitlines()
    assert re.match(r"sam3port: sam3port [\w -]+ needs packages that are not installed here: .*\btorch, ", problem)
    assert remedy == f"  -> pip install 'sam3port[{extra}]'"
    assert not ran.stdout and not list(tmp_path.iterdir())


def test_serving_needs_its_own_packages_only(runtime_programs: Path, tmp_path: Path) -> None:
    ran = run(runtime_programs, "sam3port", "serve", "--artifact", "none", cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    problem, remedy = ran.stderr.splitlines()
    assert "starlette" in problem and "torch" not in problem
    assert remedy == "  -> pip install 'sam3port[serve]'"


def test_a_cluster_needs_its_own_packages_only(runtime_programs: Path, tmp_path: Path) -> None:
    ran = run(runtime_programs, "sam3port", "segment", "--ray", "photos", "--text", "bus", cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    problem, remedy = ran.stderr.splitlines()
    assert "ray, pyarrow" in problem and "torch" not in problem
    assert remedy == "  -> pip install 'sam3port[ray]'"


def test_doctor_knows_a_machine_that_only_runs_artifacts(runtime_programs: Path, tmp_path: Path) -> None:
    """It is complete, whatever building needs besides; a square bracket is printed as it is."""
    ran = run(runtime_programs, "sam3port", "doctor", cwd=tmp_path, SAM3PORT_CACHE=str(tmp_path / "cache"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "pip install 'sam3port[build]'" in ran.stdout
    assert "the packages of sam3port[build], to build" in " ".join(ran.stdout.split())


def test_the_extras_that_build_on_build_name_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: list(map(Requirement, lines)) for name, lines in project["optional-dependencies"].items()}
    running = {"heic", "serve", "ray"}  # for who runs artifacts only, and does not want torch
    for name in extras.keys() - {"build"}:
        assert ("sam3port[build]" in map(str, extras[name])) is (name not in running), name
    twice = {r.name for r in extras["build"]} & {Requirement(line).name for line in project["dependencies"]}
    assert not twice


@pytest.fixture(scope="module")
def program(sam3port_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `sam3port` of an environment in which the wheel is installed, beside all that is installed here."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    programs = home / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(programs / "python"),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, str(sam3port_wheel)], check=True, timeout=120)
    (site,) = {file.parents[1] for file in home.rglob("sam3port/__init__.py")}
    # Plain folders, whose own .pth files do not count: one of them is the editable install of this checkout.
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "what_is_installed_here.pth").write_text("\n".join(here) + "\n", encoding="utf-8")
    return programs / "sam3port"


def test_the_installed_wheel_runs_in_a_checkout(
    program: Path, sam3port_wheel: Path, tmp_path: Path, upstream_root: Path
) -> None:
    """Its children as well, though a package sam3port lies in the working folder, which has no sam3port.patches."""
    checkout = sam3port_wheel.parent / "source"
    assert (checkout / "sam3port").is_dir() and not (checkout / "sam3port" / "patches").exists()
    out = tmp_path / "out"
    for words in (["patches"], ["apply-patches"], ["build", "scoring_head", "--preset", "tiny", "--out", str(out)]):
        ran = subprocess.run(
            [program, *words],
            cwd=checkout,
            env=clean_environment(SAM3PORT_UPSTREAM=str(upstream_root)),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ran.returncode == 0, ran.stderr
    assert (out / "scoring_head").is_dir()
