"""Every registered component computes what upstream computes: the tiny model, by the commands that a user calls."""

from __future__ import annotations

import re

import pytest

from sam3port.compiler.stage import ORDER
from sam3port.model.preset import preset
from sam3port.plugins import load_plugins
from sam3port.verify.report import JSON, MARKDOWN, PLOT
from tests.verify.conftest import TinyProof

COMPONENTS = load_plugins().components()
SEEDS = 3


@pytest.mark.parametrize("name", COMPONENTS)
def test_component_is_what_upstream_computes(name: str, tiny_proof: TinyProof) -> None:
    results = [result for result in tiny_proof.report["outputs"] if result["component"] == name]
    failures = [failure for failure in tiny_proof.report["failures"] if failure["component"] == name]
    short = [line for line in tiny_proof.report["shortcomings"] if line.startswith(f"{name}, ")]
    assert not failures
    assert not short
    component, sizes = COMPONENTS[name](), preset("tiny")
    cases = {f"seed {1000 + n}" for n in range(SEEDS)} | set(component.edges(sizes))
    outputs = {spec.name for spec in component.outputs(sizes)}
    assert {(case, result["output"]) for result in results for case in result["cases"]} == {
        (c, o) for c in cases for o in outputs
    }
    for result in results:
        assert result["passed"]
        assert result["excess"] <= 1
        assert result["ratio_to_float64"] <= 4
        assert set(result["stages"]) == {"patches", "export", "tvm"}


def test_it_passed_as_a_whole(tiny_proof: TinyProof) -> None:
    assert tiny_proof.report["passed"] is True
    assert tiny_proof.status == 0, tiny_proof.verify_log


def test_verify_after_build_builds_nothing(tiny_proof: TinyProof) -> None:
    """Of the same request: everything comes from the cache."""
    for name in COMPONENTS:
        for stage in ORDER:
            assert re.search(rf"{name} +{stage} +(done|cached)", tiny_proof.build_log)
            assert re.search(rf"{name} +{stage} +cached", tiny_proof.verify_log), f"{name}: {stage} was made again"


def test_the_runs_had_the_patches_that_they_should_have(tiny_proof: TinyProof) -> None:
    """The reference is upstream with nothing but what it cannot run without."""
    runs = tiny_proof.report["runs"]
    kinds = {name: str(patch.kind) for name, patch in load_plugins().patches().items()}
    for run in ("reference", "float64"):
        assert {kinds[name] for name in runs[run]["patches"]} == {"portability"}
    for run in ("patched", "exported"):
        assert {"float_rope", "feat_sizes", "static_shapes"} <= set(runs[run]["patches"])
    assert runs["compiled"]["patches"] == []


def test_the_report_is_there_and_says_the_same(tiny_proof: TinyProof) -> None:
    text = (tiny_proof.reports / MARKDOWN).read_text(encoding="utf-8")
    assert "**Passed**" in text
    assert f"{tiny_proof.report['comparisons']} comparisons of {len(COMPONENTS)} components, 0 fall short" in text
    assert "sam3port verify --preset tiny" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(component().outputs(preset("tiny"))) for component in COMPONENTS.values())
    assert (tiny_proof.reports / PLOT).read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tiny_proof.reports.iterdir()) == sorted([JSON, MARKDOWN, PLOT])


def test_reports_hold_nothing_of_this_machine(tiny_proof: TinyProof) -> None:
    for name in (JSON, MARKDOWN):
        assert str(tiny_proof.folder.parent) not in (tiny_proof.reports / name).read_text(encoding="utf-8")
