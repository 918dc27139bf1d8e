"""`sam3port.stubs.module`: the real module where there is one, else the stand-in; and who sees it."""

from __future__ import annotations

import pytest

from tests.patching.lab import Lab, distribution, write

PLUGIN = """
from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch
from sam3port.stubs import Stub, installed

EDITS = tuple(
    Edit(module, "", "import absent\\n", 'import sam3port.stubs\\n\\nabsent = sam3port.stubs.module("absent")\\n')
    for module in ("sam3.model.kernel", "sam3.model.other")
)


@hookimpl
def sam3port_patches():
    reason = lambda: "absent is installed" if installed("absent") else None
    texts = ("summary", "reason", "upstream", "retire")
    return [Patch("absent_stub", Kind.PORTABILITY, *texts, edits=EDITS, not_needed=reason)]


@hookimpl
def sam3port_stubs():
    return [Stub("absent", "get it somewhere", decorators=frozenset({"jit"}))]
"""

KERNEL = """
import absent


@absent.jit
def kernel(x):
    return x


def use():
    return absent.language.load(1)
"""


@pytest.fixture
def stub_lab(lab: Lab) -> Lab:
    lab.commit({"sam3/model/kernel.py": KERNEL, "sam3/model/other.py": "import absent\n"})
    distribution(lab.plugins, "stub_plugin", PLUGIN)
    return lab


INSTALL = "import sys, sam3port\nhandle = sam3port.install()\n"


def test_upstream_imports_and_the_rest_of_the_world_does_not(stub_lab: Lab) -> None:
    code = f"""{INSTALL}
import importlib.util
from sam3.model.kernel import kernel, use
from sam3port.errors import StubError
for call, name in ((lambda: kernel[1](2), "kernel"), (use, "absent.language.load")):
    try:
        call()
    except StubError as error:
        assert str(error).startswith(name + " was called, but the module absent is not installed here"), error
        assert str(error).endswith("get it somewhere"), error
    else:
        raise SystemExit("no error")
assert not [name for name in sys.modules if name.partition(".")[0] == "absent"]
assert importlib.util.find_spec("absent") is None
try:
    import absent
except ModuleNotFoundError as error:
    print(error, 'absent_stub' in handle.patches)
"""
    assert stub_lab.output(code) == "No module named 'absent' True"


def test_off_it_is_upstreams_own_failure(stub_lab: Lab) -> None:
    process = stub_lab.run(f"{INSTALL}import sam3.model.kernel", SAM3PORT_DISABLE="absent_stub")
    assert process.stderr.strip().endswith("ModuleNotFoundError: No module named 'absent'")


REAL = {
    "absent/__init__.py": "from absent import language\n\n\ndef jit(f):\n    return f\n",
    "absent/language.py": "load = abs\n",
}


def test_the_real_module_is_used(stub_lab: Lab) -> None:
    write(stub_lab.folder, REAL)
    code = f"{INSTALL}from sam3.model.kernel import kernel, use\nprint(kernel(5), use(), handle.plan.not_needed)"
    assert stub_lab.output(code) == "5 1 {'absent_stub': 'absent is installed'}"


def test_the_real_module_is_used_by_edited_text_too(stub_lab: Lab) -> None:
    """It was installed after the hook."""
    code = f"""{INSTALL}
from pathlib import Path
Path("absent").mkdir()
for name, text in {REAL!r}.items():
    Path(name).write_text(text)
import importlib; importlib.invalidate_caches()
from sam3.model.kernel import kernel, use
print(kernel(5), use(), sys.modules["absent"].__name__)
"""
    assert stub_lab.output(code) == "5 1 absent"


def test_a_folder_of_that_name_is_no_module(stub_lab: Lab) -> None:
    """Beside a clone of triton, `triton` is an empty namespace package."""
    write(stub_lab.folder, {"absent/README.md": "a clone\n"})
    assert stub_lab.output(f"{INSTALL}import sam3.model.kernel\nprint('absent_stub' in handle.patches)") == "True"


def test_an_undeclared_stub(stub_lab: Lab) -> None:
    code = "import sam3port.stubs\nsam3port.stubs.module('nowhere')"
    error = stub_lab.run(code).stderr.strip().split("\n")[-1]
    assert error.startswith("sam3port.errors.UsageError: no plugin declares a stub for the absent module 'nowhere'")
    assert "declared: absent, decord, triton" in error


@pytest.mark.parametrize("name", ["absent.language", "", "not a name", "json.nothing"])
def test_names_that_cannot_be_found(stub_lab: Lab, name: str) -> None:
    assert stub_lab.output(f"from sam3port.stubs import installed\nprint(installed({name!r}))") == "False"


def test_a_broken_plugin_that_is_off_is_not_in_the_way(stub_lab: Lab) -> None:
    """The stand-in is made while upstream is imported: of the plugins that are on, and of no others."""
    distribution(stub_lab.plugins, "broken", "raise OSError('broken')")
    code = "import sam3port; sam3port.install(disable=['broken'])\nimport sam3.model.kernel as k\nprint(k.absent)"
    assert stub_lab.output(code) == "<absent: absent is not installed>"


def test_tools_that_walk_through_a_patched_module(stub_lab: Lab) -> None:
    code = f"""{INSTALL}
import copy, doctest, inspect, pickle, sam3.model.kernel as module
assert doctest.testmod(module).failed == 0
assert "kernel" in dict(inspect.getmembers(module))
assert [name for name, _ in inspect.getmembers(module, inspect.isfunction)] == ["use"]
for stub in (module.absent, module.kernel):
    assert repr(pickle.loads(pickle.dumps(stub))) == repr(copy.deepcopy(stub)) == repr(stub)
"""
    stub_lab.output(code)
