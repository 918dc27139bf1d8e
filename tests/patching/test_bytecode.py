"""The bytecode cache: a stale .pyc must not undo a patch, and a written one must not outlive it.

PYTHONDONTWRITEBYTECODE would hide both; `tests.conftest.clean_environment` takes it away.
"""

from __future__ import annotations

import os
import py_compile

from tests.patching.lab import Lab

AREA = "from sam3.model.box import area; print(area(2, 3))"
PATCHED = f"import sam3port; sam3port.install(); {AREA}"
UNPATCHED = f"import sys; sys.path.insert(0, 'checkout'); {AREA}"


def test_a_stale_pyc_does_not_undo_the_patch(lab: Lab) -> None:
    assert lab.output(UNPATCHED) == "6"
    assert "sam3/model/__pycache__/box.cpython" in " ".join(lab.bytecode())  # the trap is set
    assert lab.output(PATCHED) == "12"


def test_a_pyc_that_is_never_checked_does_not_undo_the_patch(lab: Lab) -> None:
    for file in lab.upstream.rglob("*.py"):
        py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert lab.output(PATCHED) == "12"


def test_a_pyc_beside_the_source_is_not_taken_for_it(lab: Lab) -> None:
    for file in lab.upstream.rglob("*.py"):
        py_compile.compile(str(file), cfile=str(file.with_suffix(".pyc")))
    assert lab.output(PATCHED) == "12"


def test_nothing_is_written_into_upstream(lab: Lab) -> None:
    everything = PATCHED + "; import pkgutil, sam3, sam3.perflib.lazy as lazy; print(lazy.run())\n"
    everything += "for m in pkgutil.walk_packages(sam3.__path__, 'sam3.'): __import__(m.name)"
    before = sorted(lab.upstream.rglob("*"))
    assert lab.output(everything).split() == ["12", "patched"]
    assert sorted(lab.upstream.rglob("*")) == before


def test_the_trap_would_show(lab: Lab) -> None:
    """Without the hook Python does write there: the test above can fail."""
    lab.output(UNPATCHED)
    assert lab.bytecode()


def test_nothing_is_written_into_a_cache_elsewhere(lab: Lab) -> None:
    cache = lab.folder / "cache"
    assert lab.output(PATCHED, PYTHONPYCACHEPREFIX=str(cache)) == "12"
    assert list(cache.rglob("sam3port/plugins*.pyc"))
    assert not list(cache.rglob("box*.pyc"))


def test_switching_a_patch_off_takes_effect_at_the_next_start(lab: Lab) -> None:
    for disable, expected in (("", "12"), ("double", "6"), ("", "12"), ("demo", "6")):
        assert lab.output(PATCHED, SAM3PORT_DISABLE=disable) == expected


def test_upstreams_own_later_import_is_not_patched(lab: Lab) -> None:
    assert lab.output(PATCHED) == "12"
    assert lab.output(UNPATCHED) == "6"


def test_a_changed_upstream_takes_effect_at_once(lab: Lab) -> None:
    """Same size, same second: a cache by size and time would not see it."""
    assert lab.output(PATCHED) == "12"
    box = lab.upstream / "sam3/model/box.py"
    status = box.stat()
    box.write_text(box.read_text().replace("value // 2", "value // 4"))

    os.utime(box, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert lab.output(PATCHED + "; from sam3.model.box import halve; print(halve(8))") == "12\n2"


def test_optimised_python(lab: Lab) -> None:
    code = PATCHED + "; print(area.__doc__)"
    assert lab.run(code, "-OO").stdout.split("\n")[:2] == ["12", "None"]
    assert lab.output(code) == "12\nThe area of a box."
