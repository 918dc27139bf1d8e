"""Interpreters on emulated CPUs, and artifacts that are built for them here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock
import pytest

from sam3port.upstream.source import Upstream
from tests.conftest import clean_environment, shared_folder, tiny_built_with
from tests.emulated.interpreters import Unavailable, interpreter

Completed = subprocess.CompletedProcess[str]

ARTIFACTS: Final = {
    "neoverse-n1": ("--triple", "aarch64-linux-gnu", "--mcpu", "neoverse-n1"),
    "aarch64-bfloat16": ("--triple", "aarch64-linux-gnu", "--mcpu", "neoverse-n1,+bf16", "--dtype", "bfloat16"),
    "x86-64-v2": ("--mcpu", "x86-64-v2"),
    "x86-64-v3": ("--mcpu", "x86-64-v3"),
}
"""By name: the options of ``sam3port build``."""


@dataclass(frozen=True)
class Interpreter:
    """Python on some CPU."""

    file: Path

    def __call__(self, *arguments: str | Path, cwd: Path) -> Completed:
        """Runs it; two threads of TVM: the kernels' loops are parallel."""
        return subprocess.run(
            [str(self.file), *map(str, arguments)],
            cwd=cwd,
            env=clean_environment(TVM_NUM_THREADS="2"),
            capture_output=True,
            text=True,
            timeout=900,
        )

    def sam3port(self, *arguments: str | Path, cwd: Path) -> Completed:
        """Runs the program."""
        return self("-m", "sam3port", *arguments, cwd=cwd)


@pytest.fixture(scope="session")
def on(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Interpreter]:
    """``on(CPU)``, of `tests.emulated.interpreters.CPUS`; without the emulator the test is skipped, with the reason.

    SAM3PORT_REQUIRE_EMULATION=1 makes that a failure.
    """
    folder = shared_folder(tmp_path_factory) / "interpreters"

    def find(name: str) -> Interpreter:
        with filelock.FileLock(folder.with_suffix(".lock")):
            folder.mkdir(exist_ok=True)
            try:
                return Interpreter(interpreter(name, folder))
            except Unavailable as error:
                if os.environ.get("SAM3PORT_REQUIRE_EMULATION") == "1":
                    pytest.fail(f"{error}, and SAM3PORT_REQUIRE_EMULATION=1 asks for it", pytrace=False)
                pytest.skip(str(error))

    return find


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Callable[[str], Path]:
    """``built(NAME)``, the tiny artifact of `ARTIFACTS`. Not to be written to."""
    assert upstream_source.pinned
    folder = shared_folder(tmp_path_factory)
    return lambda name: tiny_built_with(folder / f"tiny_artifact_{name}", *ARTIFACTS[name])
