"""Builds from upstream's source to numbers, interrupted, killed, at the same time, and again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from sam3port.compiler.stage import FILES, ORDER, Stage
from sam3port.upstream.source import Upstream
from tests.build import plugin
from tests.conftest import RunPython, clean_environment

NAME = "rows"


class Builder:
    """Runs ``sam3port build`` with a third party's components, a cache of its own and the real upstream."""

    def __init__(self, folder: Path, upstream: Path, classes: str = "[Rows]") -> None:
        self.folder = folder
        self.environment = clean_environment(
            **plugin.install(folder / "distribution", classes),
            SAM3PORT_CACHE=str(folder / "cache"),
            SAM3PORT_UPSTREAM=str(upstream),
        )
        self.out = folder / "out"

    def command(self, *arguments: str) -> list[str]:
        seeded = () if "--checkpoint" in arguments else ("--seed", "0")
        return [sys.executable, "-m", "sam3port", "build", *seeded, "--out", str(self.out), *arguments]

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def record(self, name: str = NAME) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.out / name / "stage.json").read_text())
        return content


@pytest.fixture
def builder(tmp_path: Path, upstream_source: Upstream) -> Builder:
    return Builder(tmp_path, upstream_source.root)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Builder:
    """A finished build of `rows`, which tests only look at."""
    made = Builder(tmp_path_factory.mktemp("built"), upstream_source.root)
    done = made(NAME)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def prepared(built: Builder, builder: Builder) -> Builder:
    """Has made nothing yet, but its cache has what `built` made: what a test begins with takes no time."""
    shutil.copytree(built.folder / "cache", builder.folder / "cache", copy_function=os.link)
    return builder


def states(said: str, name: str = NAME) -> dict[str, str]:
    """What became of each stage, from the lines that a build prints."""
    return dict(re.findall(rf"^\[[^\]]*\] {name} +(\w+) +(done|cached|failed)", said, re.MULTILINE))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


RUN = """
import sys, numpy as np, torch
from pathlib import Path
from sam3port.model.build import build_model
from sam3port.model.preset import preset
from sam3port.plugins import load_plugins
from sam3port.build.runner import Compiled

sizes = preset("tiny")
component = load_plugins().components()["rows"]()
inputs = component.example(sizes, 7)
with torch.no_grad():
    (expected,) = component.module(build_model(sizes, seed=0), sizes)(torch.from_numpy(inputs["x"]))
found = Compiled(Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER)).run(inputs)
assert list(found) == ["y"]
assert expected.abs().max() > 0.1
np.testing.assert_allclose(found["y"], expected.numpy(), rtol=1e-5, atol=1e-6)
print("equal")
"""


def test_what_was_built_computes_what_upstream_computes(built: Builder, upstream_python: RunPython) -> None:
    code = RUN.replace("FOLDER", repr(str(built.out / NAME)))
    done = upstream_python(code, env={"PYTHONPATH": built.environment["PYTHONPATH"]})
    assert done.stdout.strip() == "equal", done.stderr


def test_every_stage_leaves_its_files_and_nothing_else(built: Builder) -> None:
    expected = [file for stage in ORDER for file in FILES[stage]]
    assert names(built.out / NAME) == sorted([*expected, "stage.json"])
    assert names(built.out) == [".lock", "build.log", NAME]


def test_the_record_says_what_was_built(built: Builder) -> None:
    record = built.record()
    assert record["component"] == NAME
    assert (record["preset"], record["resolution"], record["target"], record["dtype"]) == (
        "tiny",
        112,
        "cpu",
        "float32",
    )
    assert record["weights"] == {"seed": 0}
    assert [spec["name"] for spec in record["inputs"]] == ["x"]  # type: ignore[attr-defined]
    assert list(record["stages"]) == list(ORDER)  # type: ignore[call-overload]
    assert all(stage["seconds"] > 0 and stage["memory"] > 0 for stage in record["stages"].values())  # type: ignore[attr-defined]


def test_again_takes_nothing_but_a_look(built: Builder, tmp_path: Path) -> None:
    """TVM is not loaded for it, which takes seconds."""
    (tmp_path / "tvm.py").write_text("raise RuntimeError('TVM is loaded')\n", encoding="utf-8")
    paths = os.pathsep.join(filter(None, [str(tmp_path), built.environment.get("PYTHONPATH", "")]))
    done = built(NAME, PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr
    assert states(done.stderr) == dict.fromkeys(ORDER, "cached")


def test_into_another_folder_from_the_cache(built: Builder, tmp_path: Path) -> None:
    done = built(NAME, "--out", str(tmp_path / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert set(states(done.stderr).values()) == {"cached"}
    assert names(tmp_path / "elsewhere" / NAME) == names(built.out / NAME)


def test_without_the_cache_what_lies_in_the_folder_is_used(built: Builder) -> None:
    done = built(NAME, "--no-cache")
    assert done.returncode == 0, done.stderr
    assert set(states(done.stderr).values()) == {"cached"}
    assert names(built.out) == [".lock", "build.log", NAME]


def test_a_damaged_file_in_the_folder_is_not_used(prepared: Builder) -> None:
    assert prepared(NAME).returncode == 0
    file = prepared.out / NAME / "lib.so"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-10])
    done = prepared(NAME, "--no-cache")
    assert states(done.stderr) == {**dict.fromkeys(ORDER, "cached"), "compile": "done"}
    assert file.stat().st_size == len(content)


def test_stopping_early_and_going_on(builder: Builder) -> None:
    assert builder(NAME, "--until", "import").returncode == 0
    assert names(builder.out / NAME) == ["exported.pt2", "relax.json", "stage.json"]
    done = builder(NAME)
    assert states(done.stderr) == {**dict.fromkeys(ORDER, "done"), "export": "cached", "import": "cached"}


def test_another_seed_is_another_build(prepared: Builder) -> None:
    first = prepared(NAME, "--until", "export")
    assert states(first.stderr) == {"export": "cached"}
    assert "weights: seed 0; masks mean nothing with them" in first.stderr
    done = prepared(NAME, "--until", "export", "--seed", "1")
    assert states(done.stderr) == {"export": "done"}
    assert prepared.record()["weights"] == {"seed": 1}


def test_the_programs_of_all_stages_as_text(built: Builder, tmp_path: Path) -> None:
    done = built(NAME, "--dump", str(tmp_path / "dump"))
    assert done.returncode == 0, done.stderr
    dumped = tmp_path / "dump" / NAME
    assert names(dumped) == ["compiled.txt", "exported.txt", "optimised.py", "relax.py"]
    assert "torch.ops.aten.linear.default" in (dumped / "exported.txt").read_text()
    assert "R.matmul" in (dumped / "relax.py").read_text()
    assert "main_transform_params" in (dumped / "optimised.py").read_text()
    assert "@main" in (dumped / "compiled.txt").read_text()


def wait_for_worker(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The workers of a running build, once there are some."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        workers = psutil.Process(process.pid).children(recursive=True)
        if any("sam3port.build.worker" in worker.cmdline() for worker in workers):
            return workers
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def gone(processes: Sequence[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not alive


@pytest.fixture
def interrupted(prepared: Builder) -> Iterator[tuple[Builder, subprocess.Popen[str]]]:
    """A build with another seed in a folder where one with seed 0 is finished."""
    assert prepared(NAME, "--until", "import").returncode == 0
    process = prepared.start(NAME, "--until", "import", "--seed", "1")
    yield prepared, process
    process.kill()
    process.wait()


def assert_as_before(builder: Builder) -> None:
    assert builder.record()["weights"] == {"seed": 0}
    assert names(builder.out / NAME) == ["exported.pt2", "relax.json", "stage.json"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_leaves_the_folder_as_it_was(interrupted: tuple[Builder, subprocess.Popen[str]]) -> None:
    builder, process = interrupted
    workers = wait_for_worker(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode in {130, -2}  # see test_artifact.py
    assert "Traceback" not in said
    assert gone(workers)
    assert_as_before(builder)
    assert names(builder.out) == [".lock", "build.log", NAME]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_it_takes_its_workers_along_and_the_next_build_works(
    interrupted: tuple[Builder, subprocess.Popen[str]],
) -> None:
    builder, process = interrupted
    workers = wait_for_worker(process)
    process.kill()
    process.wait()
    assert gone(workers)
    assert_as_before(builder)
    done = builder(NAME, "--until", "import", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert builder.record()["weights"] == {"seed": 1}
    assert list((builder.folder / "cache" / "builds" / ".writing").iterdir()) == []


def test_of_two_builds_at_once_the_second_waits(builder: Builder) -> None:
    first = builder.start(NAME, "--until", "export")
    wait_for_worker(first)
    first.send_signal(signal.SIGSTOP)  # it could be done before the second begins
    second = builder.start(NAME, "--until", "export")
    assert second.stderr is not None
    said = ""
    for line in second.stderr:
        said += line
        if "another build is working" in said:
            break
    first.send_signal(signal.SIGCONT)
    said += second.communicate(timeout=120)[1]
    assert first.wait(60) == 0
    assert second.returncode == 0, said
    assert "another build is working" in said
    assert states(said) == {"export": "cached"}


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path, upstream_source: Upstream) -> None:
    builder = Builder(tmp_path, upstream_source.root, "[Unknown, Rows]")
    done = builder("rows", "unknown_operator")
    assert done.returncode == 1
    assert states(done.stderr, "unknown_operator") == {"export": "done", "import": "failed"}
    assert "unknown_operator: import: no conversion to Relax for aten.special_airy_ai.default" in done.stderr
    assert "sam3port_converters" in done.stderr
    assert "Traceback" not in done.stderr
    assert (builder.out / "rows" / "lib.so").exists()
    assert not (builder.out / "unknown_operator").exists()


def test_a_third_partys_converter_is_used(tmp_path: Path, upstream_source: Upstream) -> None:
    builder = Builder(tmp_path, upstream_source.root, "[Converted]")
    done = builder("converted", "--dump", str(tmp_path / "dump"))
    assert done.returncode == 0, done.stderr
    assert 'R.const(0.25, "float32")' in (tmp_path / "dump" / "converted" / "relax.py").read_text()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_worker_that_is_killed_is_named(tmp_path: Path, upstream_source: Upstream) -> None:
    builder = Builder(tmp_path, upstream_source.root, "[Dies]")
    done = builder("dies", "--until", "export")
    assert done.returncode == 1
    assert "dies: export: its process was ended by SIGKILL, which is also how" in done.stderr
    assert "build.log" in done.stderr


def test_a_checkpoint_that_is_not_there_is_refused_at_once(builder: Builder) -> None:
    done = builder(NAME, "--checkpoint", "nowhere.pt")
    assert done.returncode == 2
    assert "nowhere.pt" in done.stderr
    assert not builder.out.exists()


def test_a_patch_that_is_off_makes_the_stage_that_needs_it_fail(builder: Builder) -> None:
    done = builder("vision_backbone", "--until", "import", "--disable", "float_rope")
    assert done.returncode == 1
    assert states(done.stderr, "vision_backbone") == {"export": "done", "import": "failed"}
    assert "complex" in done.stderr


@pytest.mark.parametrize("stage", [Stage.OPTIMISE, Stage.PACK, Stage.KERNELS, Stage.COMPILE])
def test_a_stage_runs_alone_from_what_the_one_before_left(prepared: Builder, stage: Stage) -> None:
    before = stage.predecessor
    assert before is not None
    assert prepared(NAME, "--until", str(before)).returncode == 0
    done = prepared(NAME, "--until", str(stage), "--no-cache")
    assert states(done.stderr) == {**dict.fromkeys(before.through(), "cached"), str(stage): "done"}
