"""The one way of starting Python: who may start it, what a child imports, what it takes over."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sam3port.patches

import sam3port
from sam3port import children
from tests.conftest import clean_environment
from tests.hostile import hostile_folder

PACKAGES = {"sam3port": Path(sam3port.__file__).parent, "patches": Path(sam3port.patches.__path__[0])}
NOT_PYTHON = {"sam3port/targets/nvcc.py": {"subprocess.run"}}
"""Modules that start programs other than Python."""
BY_LIBRARIES = {"sam3port/tuning/measure.py": {"LocalBuilder", "LocalRunner", "RPCRunner"}}
"""Modules that use what starts Python by itself: within `children.started_by_libraries`."""
STARTING = {
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "os": {"system", "popen", "fork", "forkpty", "startfile", "posix_spawn", "posix_spawnp"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "pty": {"spawn", "fork"},
}
POOLS = {"ProcessPoolExecutor", "PopenPoolExecutor", "PopenWorker", *BY_LIBRARIES["sam3port/tuning/measure.py"]}


def starts(tree: ast.Module) -> Iterator[str]:
    """Whatever may start a process; and where the interpreter is, unless that is told to people."""
    told = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for inner in ast.walk(node)}
    types = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}  # subprocess.Popen[str]
    for node in ast.walk(tree):
        names: list[tuple[str, str]] = []
        if isinstance(node, ast.ImportFrom):
            names = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and id(node) not in types:
            names = [(node.value.id, node.attr)]
        for module, name in names:
            process = name in STARTING.get(module, ()) or (module == "os" and name.startswith(("exec", "spawn")))
            if process or ((module, name) == ("sys", "executable") and id(node) not in told):
                yield f"{module}.{name}"
            elif module.partition(".")[0] == "multiprocessing":
                yield module
            elif name in POOLS:
                yield name


def test_one_module_starts_python() -> None:
    found = {}
    for package, folder in PACKAGES.items():
        for file in folder.rglob("*.py"):
            name = f"{package}/{file.relative_to(folder).as_posix()}"
            found[name] = set(starts(ast.parse(file.read_text(encoding="utf-8"))))
    assert len(found) > 250
    assert found.pop("sam3port/children/starting.py") == {"subprocess.Popen", "subprocess.run", "sys.executable"}
    allowed = NOT_PYTHON | BY_LIBRARIES
    wrong = {name: sorted(what) for name, what in found.items() if what != allowed.get(name, set())}
    assert not wrong, f"these start processes otherwise than by sam3port.children, or do not any more: {wrong}"


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'x'])", {"subprocess.run", "sys.executable"}),
        ("from subprocess import Popen as P\nP(['python'])", {"subprocess.Popen"}),
        ("import os\nos.execv('python', [])", {"os.execv"}),
        ("import multiprocessing.pool", {"multiprocessing.pool"}),
        ("from concurrent.futures import ProcessPoolExecutor", {"ProcessPoolExecutor"}),
        ("from tvm.s_tir.meta_schedule.builder import LocalBuilder", {"LocalBuilder"}),
        ("import subprocess\ndef f(p: subprocess.Popen[str]) -> None: ...", set()),
        ("import sys\nprint(f'{sys.executable} has no pip')", set()),
    ],
)
def test_what_the_search_sees(code: str, seen: set[str]) -> None:
    assert set(starts(ast.parse(code))) == seen


TELL = """
import json, os, sys
flags = ("debug", "optimize", "dont_write_bytecode", "no_user_site", "no_site", "ignore_environment", "verbose")
flags += ("bytes_warning", "dev_mode", "utf8_mode", "warn_default_encoding", "int_max_str_digits")
told = {"flags": {name: getattr(sys.flags, name) for name in flags}, "x": sys._xoptions}
told["warnings"] = sorted(set(sys.warnoptions))
told["path"] = [entry for entry in sys.path if entry not in ("", os.getcwd())]
told["variables"] = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH", "COLOUR")}
print(json.dumps(told), flush=True)
"""


def family(folder: Path, *options: str, code: str, **environment: str) -> list[dict[str, Any]]:
    """What an interpreter with these options, standing in a hostile folder, and those that it starts say of themselves.

    Args:
        folder: for files.
        options: of the interpreter.
        code: starts ``tell`` and prints what it says.
    """
    library = folder / "library"
    library.mkdir()
    (library / "tell.py").write_text(TELL, encoding="utf-8")
    here = hostile_folder(folder / "here", "tell")
    script = folder / "script.py"
    script.write_text(f"{TELL}\nfrom sam3port import children\n{code}", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, *options, str(script)],
        cwd=here,
        env=clean_environment(PYTHONPATH=str(library), COLOUR="red", **environment),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


RUN = "done = children.run('tell')\nprint(done.stdout, end='')\nassert done.returncode == 0, done.stderr"
START = """
import tempfile
with tempfile.TemporaryFile() as log, children.start("tell", log=log) as child:
    print(child.stdout.read(), end="")
"""
LIBRARY = """
import subprocess
before = dict(os.environ)
with children.started_by_libraries():
    print(subprocess.run([sys.executable, "-m", "tell"], capture_output=True, text=True, check=True).stdout, end="")
assert dict(os.environ) == before
"""


@pytest.mark.parametrize("how", [RUN, START, LIBRARY], ids=["run", "start", "by a library"])
def test_a_child_imports_what_is_installed(tmp_path: Path, how: str) -> None:
    parent, child = family(tmp_path, code=how)
    assert child["variables"] == {**parent["variables"], "PYTHONSAFEPATH": "1"}
    assert child["path"] == [entry for entry in parent["path"] if entry != str(tmp_path)]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-O",),
        ("-OO", "-B", "-s"),
        ("-X", "dev", "-W", "ignore:x:UserWarning"),
        ("-X", "utf8=0", "-X", "int_max_str_digits=0"),
        ("-X", "utf8", "-bb", "-W", "error"),
    ],
    ids=" ".join,
)
def test_a_child_runs_as_this_interpreter_does(tmp_path: Path, options: tuple[str, ...]) -> None:
    parent, child = family(tmp_path, *options, code=RUN, PYTHONWARNINGS="ignore:y")
    for what in ("flags", "x", "warnings"):
        assert child[what] == parent[what], what


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_a_child_reads_no_variables_if_this_interpreter_reads_none(tmp_path: Path, option: str) -> None:
    parent, said = family(tmp_path, option, code="print(json.dumps({'site': children.run('site').stdout}))")
    assert parent["flags"]["ignore_environment"] == 1
    assert "site-packages" in said["site"]
    assert "library" not in said["site"] and "here" not in said["site"]


def test_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(children.CannotStart, match=r"Python cannot be started .*no python"):
        children.run("json.tool")
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(children.CannotStart, match="does not know where its program is"):
        children.run("json.tool")


def test_what_people_are_told_to_type() -> None:
    command = children.command_for_people("sam3port.patching.trial", os.devnull)
    assert command.endswith(f" -P -m sam3port.patching.trial {os.devnull}")
