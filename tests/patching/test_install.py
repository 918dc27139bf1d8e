"""`sam3port.install()`: once, twice, from many threads, and taken away again."""

from __future__ import annotations

import pytest

from tests.patching.lab import Lab, write

START = "import os, sys\nimport sam3port\nfrom sam3port.patching.install import current\n"


def test_installing_imports_nothing_heavy_and_nothing_of_upstream(lab: Lab) -> None:
    code = f"""{START}
sam3port.install()
print([name for name in ("torch", "tvm", "numpy", "sam3", "click", "rich", "git") if name in sys.modules])
"""
    assert lab.output(code) == "[]"


def test_it_is_idempotent(lab: Lab) -> None:
    code = f"""{START}
first = sam3port.install()
before = list(sys.meta_path), list(sys.path)
assert all(sam3port.install() is first for _ in range(3)) and current() is first
assert (list(sys.meta_path), list(sys.path)) == before
first.uninstall()
assert current() is None and not first.active
first.uninstall()
"""
    lab.output(code)


def test_eight_threads_install_at_once(lab: Lab) -> None:
    code = f"""{START}
import threading
from sam3port.patching.importer import UpstreamFinder
handles, start = [], threading.Barrier(8)
def go():
    start.wait()
    handles.append(sam3port.install())
threads = [threading.Thread(target=go) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(handles) == 8 and len(set(map(id, handles))) == 1
assert sum(isinstance(finder, UpstreamFinder) for finder in sys.meta_path) == 1
from sam3.model.box import area
print(area(2, 3))
"""
    assert lab.output(code) == "12"


def test_uninstalling_leaves_everything_as_it_was(lab: Lab) -> None:
    code = f"""{START}
before = list(sys.meta_path), list(sys.path), dict(os.environ)
with sam3port.install():
    assert (list(sys.meta_path), list(sys.path)) != before[:2]
assert (list(sys.meta_path), list(sys.path), dict(os.environ)) == before
import sam3
"""
    assert "ModuleNotFoundError: No module named 'sam3'" in lab.run(code).stderr


def test_nested_contexts(lab: Lab) -> None:
    code = f"""{START}
with sam3port.install() as outer:
    with sam3port.install() as inner:
        assert inner is outer
    assert outer.active
    import sam3
assert not outer.active
"""
    lab.output(code)


def test_a_context_in_a_process_that_installed_for_good(lab: Lab) -> None:
    code = f"{START}handle = sam3port.install()\nwith sam3port.install():\n    pass\nassert handle.active\nimport sam3"
    lab.output(code)


def test_the_same_handle_entered_twice(lab: Lab) -> None:
    code = f"""{START}
handle = sam3port.install()
with handle:
    with handle:
        pass
    assert handle.active
assert not handle.active
"""
    lab.output(code)


def test_a_handle_that_was_left_cannot_be_entered_again(lab: Lab) -> None:
    """It would patch nothing, quietly."""
    process = lab.run(f"{START}\nhandle = sam3port.install()\nwith handle: pass\nwith handle: print('inside')")
    assert "UsageError" in process.stderr
    assert "sam3port.install() again" in process.stderr
    assert not process.stdout


def test_an_old_handle_does_not_take_a_new_one_away(lab: Lab) -> None:
    code = f"""{START}
old = sam3port.install()
old.uninstall()
new = sam3port.install()
old.uninstall()
assert new.active
import sam3
"""
    lab.output(code)


def test_an_exception_inside_of_the_context_uninstalls(lab: Lab) -> None:
    code = f"""{START}
try:
    with sam3port.install():
        1 / 0
except ZeroDivisionError:
    assert current() is None
"""
    lab.output(code)


@pytest.mark.parametrize("first_name", ["sam3.perflib.lazy", "sam3.model.box"])
def test_what_upstream_imports_later_is_patched_too(lab: Lab, first_name: str) -> None:
    """Upstream imports its kernels inside of functions (sam3/perflib/nms.py:67): long after a context was left."""
    code = (
        f"{START}with sam3port.install():\n    import {first_name}\nimport sam3.perflib.lazy as lazy\nprint(lazy.run())"
    )
    assert lab.output(code) == "patched"
    assert not lab.bytecode()


def test_a_fresh_sam3_after_uninstalling_is_not_ours(lab: Lab) -> None:
    write(lab.folder, {"other/sam3/__init__.py": "VERSION = 'other'\n", "other/sam3/lazy.py": "X = 'other'\n"})
    code = f"""{START}
with sam3port.install():
    import sam3.model.box
for name in [name for name in sys.modules if name.partition(".")[0] == "sam3"]:
    del sys.modules[name]
sys.path.insert(0, "other")
import sam3.lazy
print(sam3.VERSION, sam3.lazy.X)
"""
    assert lab.output(code) == "other other"


def test_the_same_again_after_uninstalling(lab: Lab) -> None:
    code = f"""{START}
for _ in range(3):
    with sam3port.install() as handle:
        from sam3.model.box import area
from sam3port.patching.importer import UpstreamFinder
print(area(2, 3), sum(isinstance(finder, UpstreamFinder) for finder in sys.meta_path))
"""
    assert lab.output(code) == "12 1"


def test_other_patches_after_uninstalling_come_too_early(lab: Lab) -> None:
    code = f"""{START}
with sam3port.install(disable=["double"]):
    from sam3.model.box import area
    print(area(2, 3))
sam3port.install()
"""
    process = lab.run(code)
    assert process.stdout == "6\n"
    last = process.stderr.strip().split("\n")
    assert "the patch double does not apply to sam3.model.box:area: imported too early" in process.stderr
    assert last[-1] == "  -> call sam3port.install() before anything imports sam3"


def test_other_patches_of_modules_not_yet_imported_may_follow(lab: Lab) -> None:
    code = f"""{START}
with sam3port.install(disable=["double"]):
    import sam3.perflib.lazy
with sam3port.install():
    from sam3.model.box import area
print(area(2, 3))
"""
    assert lab.output(code) == "12"


def test_another_upstream_after_uninstalling_comes_too_early(lab: Lab) -> None:
    other = lab.folder / "other"
    lab.upstream.rename(other)
    lab.commit({path.relative_to(other).as_posix(): path.read_bytes() for path in other.rglob("*") if path.is_file()})
    code = f"{START}with sam3port.install({str(other)!r}):\n    import sam3.model.box\nsam3port.install()"
    assert "imported too early" in lab.run(code).stderr


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("disable=['double']", "disable=['kernel']"),
        ("", "disable=['kernel']"),
        ("", "upstream='elsewhere'"),
    ],
)
def test_a_request_that_contradicts_the_first_is_refused(lab: Lab, first: str, second: str) -> None:
    process = lab.run(f"{START}sam3port.install({first})\nsam3port.install({second})")
    assert "UsageError: sam3port.install() was called before, with another upstream or other patches" in process.stderr
    assert "uninstall the first (handle.uninstall()) or ask for the same" in process.stderr


def test_importing_sam3_first_is_an_error(lab: Lab) -> None:
    code = f"{START}sys.path.insert(0, {str(lab.upstream)!r})\nimport sam3.model.box\nsam3port.install()"
    process = lab.run(code)
    assert process.stderr.strip().endswith(
        "PatchDrift: the patch double does not apply to sam3.model.box:area: imported too early: "
        "sam3.model.box is in sys.modules already, unpatched\n"
        "  -> call sam3port.install() before anything imports sam3"
    )


def test_importing_only_unpatched_modules_first_is_an_error_too(lab: Lab) -> None:
    """They belong to another sam3, which would be mixed with the patched one."""
    code = f"{START}sys.path.insert(0, {str(lab.upstream)!r})\nimport sam3\nsam3port.install()"
    assert "imported too early: sam3 was imported before sam3port.install()" in lab.run(code).stderr


def test_a_failed_import_first_is_an_error_too(lab: Lab) -> None:
    """What it left behind is unpatched, although sam3 itself is not in sys.modules."""
    lab.commit({"sam3/__init__.py": "import sam3.model.box\nimport no_such_module\n"})
    code = f"""{START}sys.path.insert(0, {str(lab.upstream)!r})
try:
    import sam3
except ImportError:
    sam3port.install()
"""
    assert "sam3.model.box is in sys.modules already, unpatched" in lab.run(code).stderr


def test_a_folder_named_sam3_is_not_upstream(lab: Lab) -> None:
    """Beside a clone of sam3, `import sam3` gives its folder as an empty namespace package."""
    write(lab.folder, {"sam3/sam3/__init__.py": "", "sam3/README.md": ""})
    process = lab.run(f"{START}import sam3\nassert sam3.__file__ is None\nsam3port.install()")
    assert "imported too early" in process.stderr


def test_importing_sam3_first_with_every_patch_off(lab: Lab) -> None:
    code = f"{START}sys.path.insert(0, {str(lab.upstream)!r})\nimport sam3\nsam3port.install()"
    process = lab.run(code, SAM3PORT_DISABLE="demo")
    assert "sam3 was imported before sam3port.install()" in process.stderr
    assert "call sam3port.install() before anything imports sam3" in process.stderr


def test_an_import_that_is_blocked_on_purpose_stays_blocked(lab: Lab) -> None:
    process = lab.run(f"{START}sys.modules['sam3'] = None\nsam3port.install()\nimport sam3")
    assert "ModuleNotFoundError: import of sam3 halted" in process.stderr


@pytest.mark.parametrize("finder", ["BuiltinImporter", "PathFinder"])
def test_a_finder_that_changes_the_hook_in_the_midst_of_an_import(lab: Lab, finder: str) -> None:
    """Another thread may stand between two finders: none may be passed over because ours goes."""
    code = f"""{START}
handle = sam3port.install()
class Trigger:
    def find_spec(self, name, path=None, target=None):
        if name == "colorsys":
            handle.uninstall()
from importlib.machinery import BuiltinImporter, PathFinder
sys.meta_path.insert(sys.meta_path.index({finder}), Trigger())
import colorsys
assert not handle.active
"""
    lab.output(code)


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_the_home_folder_is_written_as_a_tilde(lab: Lab, how: str) -> None:
    """`--upstream=~/sam3` reaches us as it is, and a child process gets what was meant."""
    code = f"""{START}
import subprocess
handle = sam3port.install({"'~/checkout'" if how == "argument" else ""})
child = "import sam3port; sam3port.install(); from sam3.model.box import area; print(area(2, 3))"
print(handle.plan.upstream.root, subprocess.check_output([sys.executable, "-c", child], text=True).strip())
"""
    environment = {"HOME": str(lab.folder), "SAM3PORT_UPSTREAM": "" if how == "argument" else "~/checkout"}
    assert lab.output(code, **environment) == f"{lab.upstream} 12"


def test_a_relative_path_holds_after_changing_the_folder(lab: Lab) -> None:
    code = f"""{START}
sam3port.install("checkout")
os.mkdir("x"); os.chdir("x")
from sam3.model.box import area; print(area(2, 3))
"""
    assert lab.output(code, SAM3PORT_UPSTREAM="") == "12"


def test_a_working_folder_that_was_removed(lab: Lab) -> None:
    code = f"""{START}
os.mkdir("x"); os.chdir("x"); os.rmdir("../x")
sam3port.install()
from sam3.model.box import area; print(area(2, 3))
"""
    assert lab.output(code) == "12"


def test_an_unknown_name_is_refused(lab: Lab) -> None:
    process = lab.run(f"{START}sam3port.install(disable=['dubble'])")
    assert "UsageError: cannot switch off dubble: no patch or plugin has that name" in process.stderr
    assert "demo, double" in process.stderr.strip().split("\n")[-1]


def test_what_the_handle_tells(lab: Lab) -> None:
    code = f"""{START}
handle = sam3port.install()
print(handle.patches, handle.executed)
import sam3.model.box
print(handle.executed)
"""
    assert lab.output(code).split("\n") == [
        "('double', 'kernel') {}",
        "{'sam3': (), 'sam3.model': (), 'sam3.model.box': ('double',)}",
    ]
