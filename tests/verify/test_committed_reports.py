"""The reports under docs/: of what is here now, complete, passed, and free of what is private to a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from sam3port.artifact.interface import Capacity
from sam3port.components.builtin import sam3port_components
from sam3port.model.preset import preset
from sam3port.upstream import pin
from sam3port.verify.cases import cases

REPORTS: Final = Path(__file__).resolve().parents[2] / "docs" / "reports"
PRESETS: Final = ("tiny", "full")
FLOAT32: Final = {"tiny-cpu": "tiny", "full-cpu": "full", "tiny-cpu-aarch64": "tiny"}
"""Reports of components computed in float32: the preset of each."""
COMPONENTS: Final = {component.name: component for component in sam3port_components()}


def read(name: str, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REPORTS / name / file).read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("name", FLOAT32)
def test_every_component_passed(name: str) -> None:
    report = read(name, "verification_report.json")
    assert report["passed"] and not report["failures"]
    build = report["build"]
    assert (report["upstream"], build["preset"], build["target"]) == (pin.COMMIT, FLOAT32[name], "cpu")
    assert {result["component"] for result in report["outputs"]} == set(COMPONENTS)
    assert all(result["passed"] for result in report["outputs"])
    assert set(report["runs"]) == {"reference", "float64", "patched", "exported", "compiled"}


def test_aarch64_was_run_there() -> None:
    report = read("tiny-cpu-aarch64", "verification_report.json")
    assert report["build"]["target_options"]["triple"] == "aarch64-linux-gnu"
    assert "--runner" in report["command"]


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("name", FLOAT32)
def test_every_output_of_every_case_was_compared(name: str, component: str) -> None:
    """With at least three seeds: who adds a case or an output makes the report again."""
    known = COMPONENTS[component](Capacity())
    sizes = preset(FLOAT32[name])
    expected = {(case.name, output.name) for case in cases(known, preset("tiny"), 3) for output in known.outputs(sizes)}
    outputs = [each for each in read(name, "verification_report.json")["outputs"] if each["component"] == component]
    assert {(case, each["output"]) for each in outputs for case in each["cases"]} >= expected


def in_bfloat16(name: str) -> list[dict[str, Any]]:
    """The reports of a preset in bfloat16: with the full model some components at a time."""
    files = sorted((REPORTS / f"{name}-cpu-bfloat16").rglob("verification_report.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


@pytest.mark.parametrize("name", PRESETS)
def test_every_component_passed_in_bfloat16(name: str) -> None:
    reports = in_bfloat16(name)
    for report in reports:
        assert report["passed"] and not report["failures"]
        build = report["build"]
        assert (report["upstream"], build["preset"], build["dtype"]) == (pin.COMMIT, name, "bfloat16")
        assert report["max_ratio"] == 1.5
        assert "autocast" in report["runs"]
    outputs = [result for report in reports for result in report["outputs"]]
    assert all(result["passed"] for result in outputs)
    compared = {(each["component"], case, each["output"]) for each in outputs for case in each["cases"]}
    for component, known in COMPONENTS.items():
        for case in cases(known(Capacity()), preset("tiny"), 3):
            for output in known(Capacity()).outputs(preset(name)):
                assert (component, case.name, output.name) in compared


@pytest.mark.parametrize("name", PRESETS)
def test_the_whole_model_gave_the_same_answers(name: str) -> None:
    report = read(f"{name}-cpu", "end_to_end_report.json")
    assert report["passed"] and not report["failures"]
    assert report["masks_compared"] > 10
    assert report["mean_iou"] >= report["criteria"]["min_mean_iou"] == 0.999


@pytest.mark.parametrize("name", PRESETS)
def test_reports_say_how_they_were_made_and_nothing_of_the_machine(name: str) -> None:
    for file in sorted(REPORTS.glob(f"{name}-cpu*/**/*.*")):
        if file.suffix in {".md", ".json"}:
            text = file.read_text(encoding="utf-8")
            assert "/tmp" not in text and "/root" not in text and "/home" not in text
    for kind in ("VERIFICATION", "END_TO_END"):
        text = (REPORTS / f"{name}-cpu" / f"{kind}_REPORT.md").read_text(encoding="utf-8")
        assert f"--preset {name}" in text


def test_all_that_is_kept_for_machines_is_small() -> None:
    """What a reader needs; the rest is made again by the command that a report names."""
    assert sum(file.stat().st_size for file in REPORTS.rglob("*.json")) < 300_000
