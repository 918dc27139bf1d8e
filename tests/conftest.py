"""What all tests share: the real upstream source, and fresh interpreters in which it is (or is not) patched."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import filelock
import pytest

from sam3port.upstream.source import Upstream, ensure
from tests import durations

TARGETS = ("cpu", "cuda", "metal")


def _targets(text: str) -> tuple[str, ...]:
    named = tuple(text.split(","))
    if unknown := set(named) - set(TARGETS):
        raise argparse.ArgumentTypeError(f"there is no target {', '.join(sorted(unknown))}: {', '.join(TARGETS)}")
    return named


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--target", type=_targets, default=("cpu",), help="the targets whose tests run: cpu,cuda,metal")
    parser.addoption("--store-durations", action="store_true", help="record how long the modules took")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        # Started in a shell's background, where SIGINT is ignored; the children that tests interrupt inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Threads of one program wait for each other, spinning, while the other worker has their CPU.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if config.getoption("--store-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(durations.Recorder(config.rootpath))
    config.addinivalue_line("markers", "target(*names): the test takes `target`, and runs with these (default: cpu)")
    config.addinivalue_line("markers", "device: the test needs the target's device, not only its compiler")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of the chosen targets: what no target can change runs once, with cpu. The slow modules first."""
    durations.longest_first(items, durations.recorded())
    chosen = config.getoption("--target")
    kept, left = [], []
    for item in items:
        (kept if target_of(item) in chosen else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of several targets runs with each of them that is chosen."""
    if marker := metafunc.definition.get_closest_marker("target"):
        chosen = [target for target in metafunc.config.getoption("--target") if target in marker.args]
        metafunc.parametrize("target", chosen or marker.args, scope="session")


def target_of(item: pytest.Item) -> str:
    """The target that a test runs with."""
    callspec = getattr(item, "callspec", None)
    marked = callspec is not None and item.get_closest_marker("target") is not None
    return str(callspec.params["target"]) if marked else "cpu"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Ends the log with the speeds that were measured on the way, by whichever worker."""
    from tests import speed

    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    if figures := speed.files(report for report in reports if isinstance(report, pytest.TestReport)):
        terminalreporter.section(speed.TITLE)
        for line in speed.lines(figures):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"figures in {figures[0].parent}")


def _device_missing(target: str) -> str | None:
    """Why the target's device cannot be used here, None when it can."""
    if target == "cpu":
        return None
    import tvm

    return None if tvm.device(target).exist else f"this machine has no {target} device"


@pytest.fixture(autouse=True)
def _need_device(request: pytest.FixtureRequest) -> None:
    """Skips a test whose device is absent, with that reason; fails it under SAM3PORT_REQUIRE_DEVICE=1."""
    if request.node.get_closest_marker("device") is None:
        return
    missing = _device_missing(target_of(request.node))
    if missing is None:
        return
    if os.environ.get("SAM3PORT_REQUIRE_DEVICE") == "1":
        pytest.fail(f"{missing}, and SAM3PORT_REQUIRE_DEVICE=1 asks for it", pytrace=False)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def upstream_source() -> Upstream:
    """The real, pinned, verified upstream; fetched from the package index when this machine has none."""
    return ensure()


@pytest.fixture(scope="session")
def upstream_root(upstream_source: Upstream) -> Path:
    return upstream_source.root


class RunPython(Protocol):
    """Runs code in a fresh interpreter with ``sam3port.install()`` done."""

    def __call__(
        self,
        code: str,
        *,
        disable: Sequence[str] = (),
        timeout: float = 300,
        install: bool = True,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]: ...


def clean_environment(**changes: str) -> dict[str, str]:
    """This environment without what would hide a defect: bytecode switched off, sam3port's own settings."""
    dropped = {
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPATH"),
        *("SAM3PORT_DISABLE", "SAM3PORT_DEBUG", "SAM3PORT_CHECKPOINT"),
    }
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    threads = {"TVM_NUM_THREADS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {"OMP_NUM_THREADS": "2"}
    return {**threads, **kept, **changes}


def run_python(
    code: str,
    script: Path,
    *,
    disable: Sequence[str] = (),
    timeout: float = 300,
    install: bool = True,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs code as the file ``script`` in its folder, in a fresh interpreter, patched unless ``install`` is False."""
    start = f"import sam3port\nsam3port.install(disable={list(disable)!r})\n" if install else ""
    script.write_text(start + textwrap.dedent(code), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=script.parent,
        env=clean_environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture
def upstream_python(upstream_source: Upstream, tmp_path: Path) -> RunPython:
    """A function that runs code in a fresh interpreter, patched (see `RunPython`)."""
    assert upstream_source.pinned
    numbers = itertools.count(1)

    def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run_python(code, tmp_path / f"script_{next(numbers)}.py", **options)

    return run


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Path:
    """What ``sam3port build --seed 0`` makes: one for all tests and workers. Not to be written to: copy it."""
    assert upstream_source.pinned
    return tiny_built_with(shared_folder(tmp_path_factory) / "tiny_artifact")


@pytest.fixture(scope="session")
def demo_artifact(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Path:
    """Likewise with the weights that come with sam3port, for tests that need meaning."""
    assert upstream_source.pinned
    return tiny_built_with(shared_folder(tmp_path_factory) / "demo_artifact", "--weights", "demo")


@pytest.fixture(scope="session")
def tiny_built(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Path:
    """A folder for each component of the preset tiny, likewise; beside it, in ``build.txt``, what the build said."""
    from sam3port.plugins import load_plugins

    assert upstream_source.pinned
    folder = shared_folder(tmp_path_factory) / "tiny_proof"
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not (folder / "build.txt").exists():
            folder.mkdir(exist_ok=True)
            wanted = (
                *load_plugins().components(),
                "--preset",
                "tiny",
                "--seed",
                "0",
                "--target",
                "cpu",
                "--out",
                "built",
            )
            command = [sys.executable, "-m", "sam3port", "build", *wanted]
            given: dict[str, Any] = {"cwd": folder, "env": clean_environment(), "timeout": 1200}
            built = subprocess.run(command, capture_output=True, text=True, **given)
            assert built.returncode == 0, built.stderr
            (folder / "build.txt").write_text(built.stderr + built.stdout, encoding="utf-8")
    return folder / "built"


def tiny_built_with(folder: Path, *options: str) -> Path:
    """``folder``, an artifact of ``sam3port build --preset tiny OPTIONS``; the first who asks makes it."""
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not folder.exists():  # it appears by a rename
            weights = () if "--weights" in options else ("--seed", "0")
            wanted = ("--preset", "tiny", *weights, *options, "--out", str(folder))
            command = [sys.executable, "-m", "sam3port", "build", *wanted]
            built = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=1200)
            assert built.returncode == 0, built.stderr
    return folder


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One for all of xdist's workers."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
