"""What an activated environment runs at every start: a finder that waits for the first `import sam3`."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3port.patching import activate
from tests.patching.lab import Lab, make_lab

START = "import sys\nimport sam3port.autoload\nsam3port.autoload.start()\n"
AREA = "from sam3.model.box import area\nprint(area(2, 3))\n"


def test_the_first_import_is_patched(lab: Lab) -> None:
    assert lab.output(START + AREA) == "12"


def test_nothing_is_loaded_before(lab: Lab) -> None:
    """Not even `typing`: this is at the start of every interpreter."""
    code = "import sys\nbefore = set(sys.modules)\n" + START + "print(*sorted(set(sys.modules) - before))"
    assert lab.output(code).split() == ["sam3port", "sam3port.autoload"]


def test_started_twice(lab: Lab) -> None:
    code = f"{START}once = len(sys.meta_path)\nsam3port.autoload.start()\nassert len(sys.meta_path) == once\n{AREA}"
    assert lab.output(code) == "12"


def test_other_modules_are_none_of_its_business(lab: Lab) -> None:
    code = f"{START}import json, sam3port.errors\nassert 'sam3port.patching' not in sys.modules\n{AREA}"
    assert lab.output(code) == "12"


def test_find_spec_without_an_import(lab: Lab) -> None:
    code = (
        f"{START}import importlib.util\nspec = importlib.util.find_spec('sam3.model.box')\nprint(spec.origin)\n{AREA}"
    )
    assert lab.output(code).split() == [str(lab.upstream / "sam3/model/box.py"), "12"]


def test_a_program_that_installs_by_itself(lab: Lab) -> None:
    code = f"{START}import sam3port\nhandle = sam3port.install(disable=['double'])\n{AREA}"
    assert lab.output(code) == "6"


def test_a_program_that_uninstalls(lab: Lab) -> None:
    """An activated environment stays activated for a sam3 that is yet to be imported."""
    assert lab.output(f"{START}import sam3port\nwith sam3port.install(disable=['double']): pass\n{AREA}") == "12"


def test_an_error_is_shown_at_every_attempt(lab: Lab) -> None:
    """Not once, and unpatched or absent the next time."""
    code = f"""{START}
import os
for _ in range(2):
    try:
        import sam3
    except Exception as error:
        print(type(error).__name__)
os.environ["SAM3PORT_DISABLE"] = os.environ["SAM3PORT_DISABLE"].replace("nonsense", "")
{AREA}"""
    assert lab.output(code, SAM3PORT_DISABLE="nonsense").split() == ["UsageError", "UsageError", "12"]


def test_what_the_environment_was_activated_with(lab: Lab) -> None:
    code = "import sam3port.autoload as a\na.start({!r}, ('double',))\n" + AREA
    assert lab.output(code.format(str(lab.upstream)), SAM3PORT_UPSTREAM="") == "6"


def test_the_process_is_asked_before_the_environment(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SAM3PORT_UPSTREAM, or `sam3port run --upstream`, in an environment activated with another upstream."""
    other = make_lab(tmp_path_factory.mktemp("other"))
    other.commit({"sam3/__init__.py": "VERSION = 'other'\n"})
    code = f"import sam3port.autoload as a\na.start({str(lab.upstream)!r})\nimport sam3; print(sam3.VERSION)"
    assert lab.output(code, SAM3PORT_UPSTREAM="") == "1"
    assert lab.output(code, SAM3PORT_UPSTREAM=str(other.upstream)) == "other"


def test_threads_that_import_at_once(lab: Lab) -> None:
    code = f"""{START}
import importlib, threading
start, found = threading.Barrier(8), []
def go(name):
    start.wait()
    found.append(importlib.import_module(name))
names = ["sam3.model.box", "sam3", "colorsys", "sam3.perflib.lazy"] * 2
threads = [threading.Thread(target=go, args=(name,)) for name in names]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(found) == 8
{AREA}"""
    assert lab.output(code) == "12"


@pytest.mark.parametrize("name", ["plain", "with 'quotes'", "ä 中", "new\nline"])
def test_the_line_of_the_activation_file(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Python reads it in the encoding of whoever starts it, line by line: one line, ASCII only."""
    target = tmp_path / "site"
    target.mkdir()
    monkeypatch.setattr(activate, "site_packages", lambda: target)
    odd = lab.folder / name
    lab.upstream.rename(odd)
    file = activate.activate(odd, ["double"])
    line = file.read_bytes().decode("ascii")
    assert line.count("\n") == 1
    assert line.startswith("import ")
    assert lab.output(line + AREA, SAM3PORT_UPSTREAM="") == "6"
    assert activate.is_active()
    assert [activate.deactivate(), activate.deactivate(), activate.is_active()] == [True, False, False]
