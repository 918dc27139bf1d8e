"""Two processes that talk: what one says the other hears, and neither outlives the other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sam3port.children.child import Child

ECHO = """
import os, sys, time
from sam3port.children.parent import Parent

parent = Parent()
print("noise that a library makes", flush=True)
for command in parent.commands():
    if command["do"] == "die":
        print("the reason", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)
    if command["do"] == "end":
        break
    if command["do"] == "work":
        parent.say("working", pid=os.getpid())
        time.sleep(60)
    parent.say("heard", **command)
"""


@pytest.fixture
def library(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "echo.py").write_text(ECHO, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path)}


@pytest.fixture
def child(library: dict[str, str]) -> Iterator[Child]:
    child = Child("echo", environment=library)
    yield child
    child.end()


def test_what_is_told_is_heard_and_noise_is_in_the_log(child: Child) -> None:
    for text in ("one", "ä\nnew line", "x" * 200_000):
        child.send({"do": "say", "text": text})
        assert child.event() == {"event": "heard", "do": "say", "text": text}
    child.send({"do": "end"})
    assert list(child.events()) == []
    assert (child.status, child.fate()) == (0, "its process ended with status 0")
    assert child.said() == "noise that a library makes"


def test_how_one_died_and_what_it_said_last(child: Child) -> None:
    child.send({"do": "say"})
    child.event()
    assert child.memory() > 2**20  # earlier it may not be Python yet
    before = child.printed()
    child.send({"do": "die"})
    assert child.event() is None
    assert child.fate().startswith("its process was ended by SIGKILL, which is also how the system")
    assert (child.said(before), child.said(lines=2)) == ("the reason", "noise that a library makes / the reason")
    child.send({"do": "say"})  # to nobody
    assert child.event() is None and child.memory() == 0


def test_children_may_share_a_log(library: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        children = [Child("echo", log=log, environment=library) for _ in range(2)]
        for each in children:
            each.send({"do": "end"})
            assert each.status == 0, each.said(lines=9)
            each.end()
        assert children[0].said(lines=3) == " / ".join(["noise that a library makes"] * 2)
    assert log.closed


def test_a_module_that_is_not_there(library: dict[str, str]) -> None:
    child = Child("nobody", environment=library)
    assert child.event() is None
    assert "No module named nobody" in child.said()
    child.end()
    child.end()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_ends_with_its_parent_in_the_middle_of_work(library: dict[str, str]) -> None:
    code = (
        "from sam3port.children.child import Child\n"
        f"child = Child('echo', environment={library!r})\n"
        "child.send({'do': 'work'})\n"
        "print(child.event()['pid'], flush=True)\n"
        "import time; time.sleep(60)"
    )
    with tempfile.TemporaryFile() as errors:
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=errors, text=True)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it works on for nobody"
        time.sleep(0.05)
