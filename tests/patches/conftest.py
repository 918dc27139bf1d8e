"""Upstream loaded once, for tests of what it computes: to import it takes longer than most of them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam3port.upstream.source import Upstream
from tests.conftest import RunPython, clean_environment

# Has imported upstream with all patches, and forks itself for each script whose name it reads.
LOADED = """
import os, runpy, signal, sys, traceback
import sam3port
sam3port.install()
import sam3

def run(script):
    os.chdir(os.path.dirname(script))
    for number, name in enumerate((os.devnull, f"{script}.out", f"{script}.err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    signal.alarm(600)
    sys.argv, sys.path[0] = [script], os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in sys.stdin:
    child = os.fork()
    if not child:
        status = run(line.rstrip("\\n"))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

LoadedPython = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def _loaded(upstream_source: Upstream) -> Iterator[subprocess.Popen[str]]:
    assert upstream_source.pinned
    with subprocess.Popen(
        [sys.executable, "-c", LOADED],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def loaded_python(request: pytest.FixtureRequest, upstream_python: RunPython, tmp_path: Path) -> LoadedPython:
    """A function that runs code where upstream is imported already, with all patches, each time as it was then.

    For what upstream computes; how it is imported is tested in a fresh interpreter: see `upstream_python`.
    """
    if not hasattr(os, "fork"):
        return upstream_python
    process: subprocess.Popen[str] = request.getfixturevalue("_loaded")
    numbers = itertools.count(1)

    def run(code: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / f"loaded_{next(numbers)}.py"
        script.write_text(textwrap.dedent(code), encoding="utf-8")
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{script}\n")
        process.stdin.flush()
        status = process.stdout.readline()
        assert status, "the interpreter that had upstream loaded is gone"
        out, err = (script.with_name(f"{script.name}.{name}").read_text("utf-8") for name in ("out", "err"))
        return subprocess.CompletedProcess([str(script)], int(status), out, err)

    return run
