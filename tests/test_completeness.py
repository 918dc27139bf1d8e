"""Nothing is forgotten: every patch is explained and tested on and off, and every hook is documented."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import sam3port.patches

from sam3port import hookspecs
from sam3port.patching import Edit, Patch
from sam3port.patching.edits import locate_edit, occurrences, symbol_spans
from sam3port.patching.plan import Plan
from sam3port.plugins import load_plugins
from sam3port.upstream import manifest
from sam3port.upstream.source import Upstream

PATCHES = load_plugins().patches()
OURS = {name: patch for name, patch in PATCHES.items() if load_plugins().origins()[name] == name}
FILES = sorted(Path(file).stem for file in Path(sam3port.patches.__path__[0]).glob("*.py") if file.stem != "__init__")
EDITS = [pytest.param(p, e, id=f"{p.name}-{n}") for p in OURS.values() for n, e in enumerate(p.edits)]

every_patch = pytest.mark.parametrize("patch", OURS.values(), ids=OURS.keys())
every_edit = pytest.mark.parametrize(("patch", "edit"), EDITS)


def test_every_file_delivers_the_patch_of_its_name() -> None:
    assert FILES
    assert sorted(OURS) == FILES


@every_patch
def test_it_is_tested_on_and_off(patch: Patch) -> None:
    file = Path(__file__).parent / "patches" / f"test_{patch.name}.py"
    assert file.is_file(), f"the patch {patch.name} has no {file.name}"
    names = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    for state in ("off", "on"):
        assert [name for name in names if name.startswith(f"test_{state}_")], f"{file.name} has no test_{state}_..."


@every_patch
def test_it_is_explained(patch: Patch) -> None:
    for text in (patch.summary, patch.reason, patch.upstream, patch.retire_when):
        assert text.strip() == text
        assert len(text) > 15
    assert "\n" not in patch.summary
    assert re.search(r"[\w/]+\.py:\d+|#\d+|[0-9a-f]{7,}", patch.upstream), "a file and line, an issue or a commit"


@every_patch
def test_the_files_that_it_names_are_there(patch: Patch) -> None:
    """Each `name.py:12` is a file of upstream, or of a package that is named, and long enough."""
    for name, lines in re.findall(r"([\w/]+\.py)((?::|, ?)[\d, -]+)", patch.upstream):
        if name.startswith("torchvision/"):
            continue
        found = [path for path in manifest.blobs() if path.endswith(f"/{name}") or path == name]
        assert found, f"upstream has no {name}"
        assert lines


@every_patch
def test_its_file_says_what_breaks(patch: Patch) -> None:
    module = __import__(f"sam3port.patches.{patch.name}", fromlist=["_"])
    assert module.__doc__ and "What breaks" in module.__doc__


@every_edit
def test_the_edit_matches_pristine_upstream_exactly_once(patch: Patch, edit: Edit, upstream_source: Upstream) -> None:
    source = Plan(upstream_source, (patch,)).pristine(edit.module)
    assert source is not None, f"upstream has no module {edit.module}"
    span = locate_edit(source, edit, symbol_spans(source))
    assert source[span.start : span.end] == edit.before


@every_edit
def test_the_replacement_would_be_recognised(patch: Patch, edit: Edit, upstream_source: Upstream) -> None:
    """It does not already stand in the pristine symbol: "already fixed" would be said of any drift."""
    source = Plan(upstream_source, (patch,)).pristine(edit.module)
    assert source is not None
    if edit.after_is_telling:
        assert not occurrences(source, edit.after, symbol_spans(source)[edit.symbol])


def test_all_edits_together_are_python(upstream_source: Upstream) -> None:
    plan = Plan(upstream_source, tuple(PATCHES.values()))
    for module in plan.edited_modules():
        source = plan.pristine(module)
        assert source is not None
        compile(plan.patched(module, source), module, "exec")


@every_patch
def test_the_edits_of_one_patch_alone_are_python(patch: Patch, upstream_source: Upstream) -> None:
    plan = Plan(upstream_source, (patch,))
    for module in plan.edited_modules():
        source = plan.pristine(module)
        assert source is not None
        compile(plan.patched(module, source), module, "exec")


HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("sam3port_")}


def test_every_hook_is_a_hook() -> None:
    assert HOOKS
    marked = {name for name, hook in HOOKS.items() if hasattr(hook, "sam3port_spec")}
    assert marked == set(HOOKS)


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_every_hook_is_documented_and_does_nothing(name: str) -> None:
    assert len(inspect.getdoc(HOOKS[name]) or "") > 15
    (function,) = ast.parse(inspect.getsource(HOOKS[name])).body
    assert isinstance(function, ast.FunctionDef)
    assert len(function.body) == 1, "docstring only"


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_every_hook_is_used_by_ourselves(name: str) -> None:
    """Built-ins use the public hooks: what we do not deliver through one, nobody can try."""
    assert [call for call in load_plugins()._calls(name) if call[1]]
