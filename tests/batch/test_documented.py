"""What docs/cluster.md shows is run as it stands there."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from sam3port.batch.connect import connected
from tests.batch.conftest import PATIENCE, pictures
from tests.conftest import clean_environment
from tests.test_documents import ROOT, blocks

PAGE = ROOT / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def place(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name, and a module that must not be imported."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "demo").mkdir()
    (folder / "demo" / "artifact").symlink_to(tiny_artifact)
    pictures(folder / "photos", 3)
    (folder / "pyarrow.py").write_text("raise SystemExit('imported from the working folder')\n")
    return folder


def test_the_commands_on_this_machine(place: Path) -> None:
    """A Ray of its own, which leaves no process; the second command finds everything done, and starts none."""
    said = []
    for command in [line for line in blocks(PAGE, "sh")[0].splitlines() if line.startswith("sam3port")]:
        _, *words = shlex.split(command)
        given: dict[str, Any] = {"cwd": place, "env": clean_environment(), "timeout": PATIENCE}
        ran = subprocess.run([sys.executable, "-P", "-m", "sam3port", *words], capture_output=True, text=True, **given)
        assert ran.returncode == 0, ran.stderr
        said.append((ran.stdout, ran.stderr))
        if len(said) == 1:
            running = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
            session = "/raylet/raylet"
            assert sum(session in line for line in running) <= 2  # those of the other tests' cluster
    assert "[3/3]" in said[0][1]
    assert "3 of 3 pictures were done before" in said[1][0]
    found = pq.read_table(place / "found" / "parquet")
    assert found.num_rows == 3 and found["error"].null_count == 3


@pytest.mark.usefixtures("second")  # Ray Data reads and writes with a CPU of its own
def test_the_python(cluster: Any, place: Path, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, pipeline = blocks(PAGE, "python")
    monkeypatch.chdir(place)
    exec(compile(reading, str(PAGE), "exec"), {})
    pipeline = pipeline.replace("/shared/full", str(tiny_artifact)).replace("/shared", str(place))
    with connected(cluster.address):
        exec(compile(pipeline, str(PAGE), "exec"), {})
    rows = pq.read_table(place / "table").to_pylist()
    assert sorted(Path(row["path"]).name for row in rows) == ["000.png", "001.png", "002.png"]
    assert all(row["objects"] and row["error"] is None and "bytes" not in row for row in rows)
