"""Runs that fail, crash or are interrupted: what can be compared is, what cannot is named, nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sam3port.compiler.stage import LIBRARY
from sam3port.verify.report import JSON, MARKDOWN, PLOT
from tests.cli.conftest import call
from tests.conftest import clean_environment
from tests.patching.lab import distribution
from tests.verify.conftest import TinyProof

COMPONENTS = '''
    """Components that work until they are exported."""

    import os
    import signal

    import numpy as np
    import torch

    from sam3port.components.component import Component, TensorSpec
    from sam3port.hookspecs import hookimpl


    class Rows(Component):
        name, summary, upstream = "rows", "a linear layer of upstream's", "none"

        def inputs(self, preset):
            return (TensorSpec("x", (3, preset.d_model), "float32", "anything"),)

        def outputs(self, preset):
            return (TensorSpec("y", (3, preset.d_model), "float32", "anything"),)

        def module(self, model, preset):
            finish = self.finish

            class Module(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layer = model.dot_prod_scoring.hs_proj

                def forward(self, x):
                    if not torch.compiler.is_exporting():
                        finish(x)
                    return (self.layer(x),)

            return Module()

        def finish(self, x):
            pass

        def example(self, preset, seed):
            return {"x": np.random.default_rng(seed).standard_normal((3, preset.d_model), np.float32)}

        def edges(self, preset):
            return {"zeros": {"x": np.zeros((3, preset.d_model), np.float32)}}


    class Raises(Rows):
        name = "raises"

        def finish(self, x):
            if not x.any():
                raise ValueError("nothing in x\\nand a second line")


    class Dies(Rows):
        name = "dies"

        def finish(self, x):
            os.kill(os.getpid(), signal.SIGKILL)


    class Damaged(Rows):
        name = "damaged"


    class Last(Rows):
        name = "last"


    @hookimpl
    def sam3port_components():
        return [Rows, Raises, Dies, Damaged, Last]
'''
NAMES = ("rows", "raises", "dies", "damaged", "last")


@dataclass(frozen=True)
class Failing:
    """What `sam3port verify` did with components of which three cannot be computed."""

    status: int
    stdout: str
    stderr: str
    report: dict[str, Any]
    text: str
    """The report for people."""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Failing:
    folder = tmp_path_factory.mktemp("failing")
    distribution(folder / "site", "failing", COMPONENTS)
    environment = {"PYTHONPATH": str(folder / "site")}
    done = call("build", *NAMES, "--out", "built", cwd=folder, timeout=600, **environment)
    assert done.returncode == 0, done.stderr
    library = folder / "built" / "damaged" / LIBRARY
    content = library.read_bytes()
    library.unlink()
    library.write_bytes(content[: len(content) // 2])
    wanted = ("--built", "built", "--seeds", "1", "--report", "report")
    done = call("verify", *NAMES, *wanted, cwd=folder, timeout=600, **environment)
    report = json.loads((folder / "report" / JSON).read_text(encoding="utf-8"))
    text = (folder / "report" / MARKDOWN).read_text(encoding="utf-8")
    assert (folder / "report" / PLOT).is_file()
    return Failing(done.returncode, done.stdout, done.stderr, report, text)


def test_the_others_are_compared(failing: Failing) -> None:
    assert failing.status == 1
    assert not failing.report["passed"]
    results = failing.report["outputs"]
    assert sorted((r["component"], case) for r in results for case in r["cases"] if r["passed"]) == [
        ("last", "seed 1000"),
        ("last", "zeros"),
        ("rows", "seed 1000"),
        ("rows", "zeros"),
    ]
    assert failing.report["comparisons"] == 4


@pytest.mark.parametrize("run", ["reference", "float64", "patched"])
def test_an_error_is_named_with_its_input(failing: Failing, run: str) -> None:
    line = f"raises, zeros: the {run} run failed: ValueError: nothing in x"
    assert line in failing.stdout.splitlines()
    assert f"- {line}" in failing.text.splitlines()


@pytest.mark.parametrize("run", ["reference", "float64", "patched"])
def test_a_crash_is_named_with_its_input(failing: Failing, run: str) -> None:
    line = f"dies, seed 1000: the {run} run failed: its process was ended by SIGKILL"
    assert any(said.startswith(line) for said in failing.stdout.splitlines()), failing.stdout


def test_a_library_that_cannot_be_loaded_is_named(failing: Failing) -> None:
    (failure,) = (failure for failure in failing.report["failures"] if failure["component"] == "damaged")
    assert failure["run"] == "compiled"
    assert f"damaged: the compiled run failed: {failure['problem']}" in failing.stdout


def test_users_see_no_traceback(failing: Failing) -> None:
    assert "Traceback" not in failing.stdout + failing.stderr
    assert "a second line" not in failing.stdout + failing.stderr
    assert "4 comparisons, 0 outside, 7 runs failed" in failing.stdout


def children_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if "sam3port.verify" in " ".join(child.cmdline())]


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it never happened")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_it(ended_by: signal.Signals, tiny_proof: TinyProof, tmp_path: Path) -> None:
    """Ctrl-C ends with status 130 and leaves no file; even killed it leaves no process."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = {file: file.stat().st_mtime_ns for file in tiny_proof.built.rglob("*")}
    process = subprocess.Popen(
        [sys.executable, "-m", "sam3port", "verify", "--built", str(tiny_proof.built), "--report", "report"],
        cwd=tmp_path,
        env=clean_environment(TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that was started in the background ignores Ctrl-C, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    runs = wait_for(lambda: len(found := children_of(psutil.Process(process.pid))) == 2 and found)
    wait_for(lambda: list(temporary.glob("*/*/*.npz")))
    process.send_signal(ended_by)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if ended_by is signal.SIGINT else -ended_by), errors
    assert not psutil.wait_procs(runs, timeout=30)[1]
    assert "Traceback" not in errors
    if ended_by is signal.SIGINT:
        assert not list(temporary.glob("sam3port*"))
        assert "interrupted" in errors
    assert not (tmp_path / "report").exists()
    assert {file: file.stat().st_mtime_ns for file in tiny_proof.built.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_component"], "there is no component named no_such_component"),
        (["--preset", "huge"], "huge"),
        (["--target", "abacus"], "there is no target named abacus"),
        (["--dtype", "float8"], "cannot compute in float8"),
        (["--seed", "1", "--checkpoint", "sam3.pt"], "exclude each other"),
        (["--checkpoint", "absent.pt"], "there is no checkpoint absent.pt"),
        (["--resolution", "100"], "multiple of"),
        (["--built", "nowhere"], "holds no built components"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_wrong_use(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = call("verify", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
