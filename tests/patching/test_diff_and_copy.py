"""The patches as a diff that `git apply` takes, and as a copy that Python runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sam3port.errors import Sam3PortError
from sam3port.patching import Edit, Kind, Patch
from sam3port.patching.copy import write_patched_copy
from sam3port.patching.diff import unified_diffs
from sam3port.patching.plan import Plan
from sam3port.upstream.source import locate
from tests.patching.lab import BOX, Lab, write
from tests.upstream.conftest import commit_all, git

EDIT = Edit("sam3.model.box", "area", "return width * height", "return 2 * width * height")


def plan(lab: Lab, *edits: Edit) -> Plan:
    patch = Patch("demo", Kind.FIX, "s", "r", "u", "w", edits or (EDIT,))
    return Plan(locate(lab.upstream), (patch,))


@pytest.mark.parametrize(
    "source",
    [
        BOX,
        BOX.rstrip("\n"),  # no newline at the end, near the change or far from it
        "def area(width, height):\n    return width * height",
        f"PAGES = '''\x0c\n\x0c\x1c\x85\u2028 ü'''\n{BOX}",
        f"{BOX}\x0c\n# last page",
    ],
    ids=["plain", "no newline", "no newline in the change", "odd line ends", "odd end"],
)
def test_git_applies_the_diff(lab: Lab, source: str) -> None:
    lab.commit({"sam3/model/box.py": source})
    planned = plan(lab)
    diff = "".join(unified_diffs(planned))
    (lab.folder / "demo.patch").write_bytes(diff.encode())
    git(lab.upstream, "apply", str(lab.folder / "demo.patch"))
    assert (lab.upstream / "sam3/model/box.py").read_bytes().decode() == planned.patched("sam3.model.box", source)
    assert git(lab.upstream, "status", "--porcelain") == "M sam3/model/box.py"


def test_a_diff_of_one_patch_and_of_none(lab: Lab) -> None:
    assert list(unified_diffs(plan(lab), frozenset({"other"}))) == []
    assert len(list(unified_diffs(plan(lab), frozenset({"demo"})))) == 1


ASSETS: dict[str, str | bytes] = {"LICENSE": "SAM License\n", "assets/bpe_simple_vocab_16e6.txt.gz": b"\x1f\x8b"}


def test_the_copy_is_what_runs(lab: Lab) -> None:
    lab.commit(ASSETS)
    changed = write_patched_copy(plan(lab), lab.folder / "copy")
    assert changed == ["sam3/model/box.py"]
    code = "import sys; sys.path.insert(0, 'copy')\nfrom sam3.model.box import area; print(area(2, 3))"
    assert lab.output(code) == "12"
    for name in ASSETS:
        assert (lab.folder / "copy" / name).read_bytes() == (lab.upstream / name).read_bytes()
    assert (lab.folder / "copy/sam3/model/names.txt").read_text() == "a\nb\n"


def test_a_checkout_that_keeps_its_vocabulary_elsewhere(lab: Lab) -> None:
    """Upstream's later commits have it in the package."""
    lab.commit({"LICENSE": "SAM License\n", "sam3/assets/bpe_simple_vocab_16e6.txt.gz": b"\x1f\x8b"})
    write_patched_copy(plan(lab), lab.folder / "copy")
    assert (lab.folder / "copy/sam3/assets/bpe_simple_vocab_16e6.txt.gz").read_bytes() == b"\x1f\x8b"


def test_no_copy_without_the_licence(lab: Lab) -> None:
    with pytest.raises(Sam3PortError, match="LICENSE"):
        write_patched_copy(plan(lab), lab.folder / "copy")
    assert not (lab.folder / "copy").exists()
    assert not list(lab.folder.glob(".copy*"))


def test_a_drift_leaves_nothing_behind(lab: Lab) -> None:
    lab.commit(ASSETS)
    with pytest.raises(Sam3PortError, match="edited"):
        write_patched_copy(plan(lab, Edit("sam3.model.box", "area", "gone", "gone too")), lab.folder / "copy")
    assert not (lab.folder / "copy").exists()
    assert not list(lab.folder.glob(".copy*"))


def test_a_patched_module_that_is_gone_is_missed(lab: Lab) -> None:
    """A copy without it would be a quiet no-op."""
    lab.commit(ASSETS)
    for use in (write_patched_copy, lambda p, _: list(unified_diffs(p))):
        with pytest.raises(Sam3PortError, match="module gone"):
            use(plan(lab, Edit("sam3.model.nothing", "f", "a", "b")), lab.folder / "copy")
    assert not (lab.folder / "copy").exists()


def test_an_earlier_copy_is_replaced_and_other_folders_are_not(lab: Lab) -> None:
    lab.commit(ASSETS)
    write_patched_copy(plan(lab), lab.folder / "copy")
    (lab.folder / "copy/sam3/stale.py").write_text("")
    write_patched_copy(plan(lab), lab.folder / "copy")
    assert not (lab.folder / "copy/sam3/stale.py").exists()
    write(lab.folder, {"mine/thesis.txt": "precious"})
    with pytest.raises(Sam3PortError, match="did not write"):
        write_patched_copy(plan(lab), lab.folder / "mine")
    assert (lab.folder / "mine/thesis.txt").read_text() == "precious"


def test_the_diff_of_the_real_patches_applies(checkout: Path) -> None:
    from sam3port.plugins import load_plugins

    commit_all(checkout)
    planned = Plan(locate(checkout), tuple(load_plugins().patches().values()))
    diff = "".join(unified_diffs(planned))
    done = subprocess.run(["git", "apply", "--check", "-"], cwd=checkout, input=diff.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
