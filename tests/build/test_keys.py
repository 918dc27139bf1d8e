"""Two builds share a result exactly when nothing that matters differs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import sam3port
from sam3port.artifact.interface import Capacity
from sam3port.build import keys as keys_module
from sam3port.build.closure import closure, files_of
from sam3port.build.keys import stage_keys
from sam3port.build.request import BuildRequest
from sam3port.compiler.stage import ORDER, Stage
from sam3port.patching.install import make_plan
from sam3port.upstream.source import Upstream

PACKAGE = Path(sam3port.__file__).parent
REQUEST = BuildRequest(components=("scoring_head", "segmentation_head"))


def keys(request: BuildRequest, upstream: Path | None = None) -> dict[Stage, str]:
    return stage_keys(request, make_plan(upstream, frozenset(request.disable)))["scoring_head"]


def same_stages(a: dict[Stage, str], b: dict[Stage, str]) -> list[Stage]:
    return [stage for stage in ORDER if a[stage] == b[stage]]


@pytest.fixture(autouse=True)
def _upstream(upstream_source: Upstream) -> None:
    assert upstream_source.pinned


def test_the_same_request_has_the_same_keys() -> None:
    assert keys(REQUEST) == keys(REQUEST)


def test_components_and_stages_have_keys_of_their_own() -> None:
    found = stage_keys(REQUEST, make_plan(None, frozenset()))
    every = [key for stages in found.values() for key in stages.values()]
    assert len(set(every)) == len(every) == 2 * len(ORDER)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"preset": "full"},
        {"resolution": 168},
        {"capacity": Capacity(points=9)},
        {"disable": ("feat_sizes",)},
    ],
)
def test_what_the_export_depends_on_changes_everything(changes: dict[str, object]) -> None:
    assert same_stages(keys(REQUEST), keys(replace(REQUEST, **changes))) == []  # type: ignore[arg-type]


def test_the_other_components_built_with_it_do_not_matter() -> None:
    assert keys(REQUEST) == keys(replace(REQUEST, components=("scoring_head",)))


def test_stopping_early_does_not_matter() -> None:
    early = keys(replace(REQUEST, until=Stage.IMPORT))
    assert list(early) == [Stage.EXPORT, Stage.IMPORT]
    assert all(keys(REQUEST)[stage] == key for stage, key in early.items())


def test_the_checkpoint_counts_by_its_content(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in "abc")
    for file, content in ((one, "x"), (two, "x"), (three, "y")):
        file.write_text(content)
    requests = [replace(REQUEST, seed=None, checkpoint=file) for file in (one, two, three)]
    assert keys(requests[0]) == keys(requests[1])
    assert same_stages(keys(requests[0]), keys(requests[2])) == []


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("compiler/export.py", []),
        ("model/build.py", []),
        ("patching/edits.py", []),
        ("replacements/rope.py", []),
        ("components/data/samples.py", []),
        ("compiler/importing/program.py", [Stage.EXPORT]),
        ("compiler/importing/converter.py", [Stage.EXPORT]),
        ("compiler/importing/converters/cat.py", [Stage.EXPORT]),
        ("kernels/cpu/products/gemm.py", [Stage.EXPORT, Stage.IMPORT]),
        ("kernels/cpu/formats/policy.py", [Stage.EXPORT, Stage.IMPORT]),
        ("targets/host.py", [Stage.EXPORT, Stage.IMPORT]),
        ("compiler/pack.py", [Stage.EXPORT, Stage.IMPORT, Stage.OPTIMISE]),
        ("compiler/compile.py", [Stage.EXPORT, Stage.IMPORT, Stage.OPTIMISE, Stage.PACK]),
        ("cli/build/command.py", list(ORDER)),
        ("runtime/draw.py", list(ORDER)),
    ],
)
def test_our_own_source_counts_from_its_stage_on(
    source: str, kept: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(REQUEST)
    touch(source, monkeypatch)
    assert same_stages(before, keys(REQUEST)) == kept


def touch(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this file of the package had another content."""
    original = keys_module._file
    monkeypatch.setattr(keys_module, "_file", lambda file: original(file) + ("!" if file == PACKAGE / source else ""))
    monkeypatch.setattr(keys_module, "_source", keys_module._source.__wrapped__)


def test_touching_any_module_that_a_stage_imports_changes_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(REQUEST)
    seen: set[str] = set()
    for stage, modules in keys_module._MADE_BY.items():
        files = files_of(closure(*keys_module._of_ours(modules)))
        for source in sorted(set(files) - seen):
            with monkeypatch.context() as patch:
                touch(source, patch)
                assert not set(same_stages(before, keys(REQUEST))) & set(ORDER[ORDER.index(stage) :]), source
        seen |= set(files)


def test_another_target_keeps_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from sam3port.targets.cpu import CpuTarget

    before = keys(REQUEST)
    monkeypatch.setattr(CpuTarget, "identity", lambda _: "another machine")
    assert same_stages(before, keys(REQUEST)) == [Stage.EXPORT, Stage.IMPORT]


def test_a_changed_file_of_ones_own_upstream_counts(upstream_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("git")
    import git

    copy = tmp_path / "upstream"
    shutil.copytree(upstream_root, copy, ignore=shutil.ignore_patterns(".git"))
    repository = git.Repo.init(copy)
    repository.git.add(all=True)
    repository.git.execute(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "another commit"]
    )
    before = keys(REQUEST, copy)
    assert same_stages(before, keys(REQUEST)) == []
    file = copy / "sam3" / "model" / "memory.py"
    file.write_text(file.read_text() + "\n# changed\n")
    keys_module._file.cache_clear()
    assert same_stages(before, keys(REQUEST, copy)) == []


def test_keys_need_neither_torch_nor_tvm() -> None:
    code = """
import sys
from sam3port.patching.install import make_plan
from sam3port.build.keys import stage_keys
from sam3port.build.request import BuildRequest, known_components
stage_keys(BuildRequest(components=tuple(known_components())), make_plan(None, frozenset()))
assert not {"torch", "tvm"} & set(sys.modules), "heavy"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
