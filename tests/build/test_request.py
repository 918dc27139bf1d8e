"""What can be asked for, and what is refused before anything is done."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from sam3port.artifact.interface import Capacity
from sam3port.build.request import BuildRequest, known_components
from sam3port.compiler.stage import Stage
from sam3port.errors import UsageError
from sam3port.model.preset import Traits
from sam3port.tuning.record import Machine, TunedSchedule

REQUEST = BuildRequest(
    components=("scoring_head",),
    preset="full",
    resolution=672,
    target="cpu",
    target_options={"mcpu": "x86-64-v3", "triple": "x86_64-linux-gnu"},
    dtype="bfloat16",
    seed=None,
    checkpoint=Path("/somewhere/tuned.safetensors"),
    base=Path("/somewhere/sam3.pt"),
    traits=Traits(points=False, iou_sigmoid=False),
    capacity=Capacity(prompts=2, points=3, boxes=4),
    until=Stage.IMPORT,
    upstream=Path("/somewhere/sam3"),
    disable=("feat_sizes",),
    tuned=(TunedSchedule("linear 1x2x3 float32", Machine("znver3", 8, 16, 2), {"rows": 6}, "your database"),),
)


def test_it_travels_as_json() -> None:
    defaults = BuildRequest(components=())
    assert all(getattr(REQUEST, f.name) != getattr(defaults, f.name) for f in fields(REQUEST) if f.name not in SAME)
    assert BuildRequest.from_json(json.loads(json.dumps(REQUEST.as_json()))) == REQUEST


SAME = {"target"}
"""The usual target is the one that has these options."""


@pytest.mark.parametrize(
    ("target", "option", "has"),
    [("cpu", "arch", "--mcpu and --triple"), ("cuda", "mcpu", "--arch"), ("metal", "triple", "leave it away")],
)
def test_an_option_of_another_target_is_refused(target: str, option: str, has: str) -> None:
    with pytest.raises(UsageError, match=f"target {target} has no --{option}") as caught:
        replace(REQUEST, target=target, dtype="float32", target_options={option: "x"}).build_target()
    assert has in caught.value.remedy


def test_relative_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    request = replace(REQUEST, checkpoint=Path("sam3.pt"))
    assert request.as_json()["checkpoint"] == str(tmp_path / "sam3.pt")


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no component named nonsense") as caught:
        known_components((), ("scoring_head", "nonsense"))
    assert "scoring_head" in caught.value.remedy
    with pytest.raises(UsageError, match="no target named abacus") as caught:
        replace(REQUEST, target="abacus").build_target()
    assert "cpu" in caught.value.remedy
    with pytest.raises(UsageError, match="float8"):
        replace(REQUEST, dtype="float8").build_target()
    with pytest.raises(UsageError, match="medium"):
        replace(REQUEST, preset="medium").sizes()
    with pytest.raises(UsageError, match="1000"):
        replace(REQUEST, resolution=1000).sizes()


def test_without_names_all_components_are_meant() -> None:
    assert "scoring_head" in known_components()
    assert len(known_components()) > 1
    assert list(known_components((), ("scoring_head", "scoring_head"))) == ["scoring_head"]


def test_the_component_gets_the_capacity() -> None:
    assert REQUEST.component("scoring_head").capacity == Capacity(prompts=2, points=3, boxes=4)
