"""The proof of the tiny model, made once by the commands that a user calls; every test looks at its part."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pytest

from tests.cli.conftest import call

Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class TinyProof:
    """What `sam3port build` and then `sam3port verify` left."""

    folder: Path

    @property
    def built(self) -> Path:
        """A folder for each component. Not to be written to: see `copy_of_built`."""
        return self.folder / "built"

    @property
    def kept(self) -> Path:
        """Inputs and every run's outputs."""
        return self.folder / "kept"

    @property
    def reports(self) -> Path:
        return self.folder / "report"

    @property
    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.reports / "verification_report.json").read_text(encoding="utf-8"))
        return content

    @property
    def build_log(self) -> str:
        return (self.folder / "build.txt").read_text(encoding="utf-8")

    @property
    def verify_log(self) -> str:
        return (self.folder / "verify.txt").read_text(encoding="utf-8")

    @property
    def status(self) -> int:
        """Exit status of `sam3port verify`."""
        return int((self.folder / "status").read_text(encoding="utf-8"))

    def copy_of_built(self, component: str, folder: Path) -> Path:
        """A build folder that holds a copy of one component, which may be changed."""
        shutil.copytree(self.built / component, folder / component)
        for file in (folder / component).iterdir():
            file.chmod(0o644)
        return folder


@pytest.fixture(scope="session")
def tiny_proof(tiny_built: Path) -> TinyProof:
    """Made once, as `tiny_built`."""
    folder = tiny_built.parent
    proof = TinyProof(folder)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not (folder / "status").exists():
            wanted = ("--report", str(proof.reports), "--keep", str(proof.kept))
            # Two threads of TVM whatever else runs, as users have at least: the kernels' loops are parallel.
            verified = call("verify", "--preset", "tiny", *wanted, cwd=folder, timeout=1200, TVM_NUM_THREADS="2")
            (folder / "verify.txt").write_text(verified.stderr + verified.stdout, encoding="utf-8")
            assert (proof.reports / "verification_report.json").is_file(), verified.stderr
            (folder / "status").write_text(str(verified.returncode), encoding="utf-8")
    return proof
