"""--built: what a build recorded is what is verified, and what contradicts it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam3port.artifact.interface import Capacity
from sam3port.build.request import BuildRequest
from sam3port.errors import UsageError
from sam3port.tuning.sources import usual_schedules
from sam3port.verify.built import is_current, request_of
from tests.verify.conftest import TinyProof

ONE, TWO = "scoring_head", "segmentation_head"


@pytest.fixture
def built(tiny_proof: TinyProof, tmp_path: Path) -> Path:
    tiny_proof.copy_of_built(ONE, tmp_path)
    return tiny_proof.copy_of_built(TWO, tmp_path)


def change(folder: Path, component: str, update: Callable[[dict[str, Any]], None]) -> None:
    file = folder / component / "stage.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    update(record)
    file.write_text(json.dumps(record), encoding="utf-8")


def test_it_is_the_request_that_made_it(built: Path) -> None:
    assert request_of(built, [], {}) == BuildRequest(components=(ONE, TWO))
    assert request_of(built, [TWO], {}) == BuildRequest(components=(TWO,))
    assert is_current(built, replace(request_of(built, [], {}), tuned=usual_schedules()))


def test_what_says_the_same_is_no_contradiction(built: Path) -> None:
    same = {"preset": "tiny", "resolution": 112, "target": "cpu", "dtype": "float32", "seed": 0, "points": 8}
    assert request_of(built, [], same) == BuildRequest(components=(ONE, TWO))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("preset", "full", "the preset tiny, not full"),
        ("resolution", 224, "the resolution 112, not 224"),
        ("seed", 1, "the seed 0, not 1"),
        ("checkpoint", Path("sam3.pt"), "no checkpoint, not sam3.pt"),
        ("target", "cuda", "the target cpu, not cuda"),
        ("points", 2, "the points 8, not 2"),
    ],
)
def test_contradictions_are_refused(built: Path, option: str, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        request_of(built, [], {option: value})


def test_what_is_not_there_is_said(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not hold text_encoder") as raised:
        request_of(built, ["text_encoder"], {})
    assert f"{ONE}, {TWO}" in raised.value.remedy
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no built components"):
        request_of(tmp_path / "empty", [], {})


def test_different_builds_in_one_folder(built: Path) -> None:
    change(built, TWO, lambda record: record["capacity"].update(points=4))
    with pytest.raises(UsageError, match=f"{ONE} and {TWO} differ in capacity"):
        request_of(built, [], {})
    change(built, ONE, lambda record: record["capacity"].update(points=4))
    # The inputs that were recorded are those of the other capacity.
    with pytest.raises(UsageError, match="was built with other inputs"):
        request_of(built, [], {})


def test_a_build_that_stopped_early(built: Path) -> None:
    change(built, ONE, lambda record: record["stages"].pop("compile"))
    with pytest.raises(UsageError, match="was not built to the end"):
        request_of(built, [], {})


def test_other_patches_and_another_upstream(built: Path) -> None:
    with pytest.raises(UsageError, match="was built with float_rope"):
        request_of(built, [], {}, disable=("float_rope",))
    change(built, ONE, lambda record: record["patches"].remove("float_rope"))
    with pytest.raises(UsageError, match="without the patches float_rope") as raised:
        request_of(built, [ONE], {})
    assert "--disable float_rope" in raised.value.remedy
    assert request_of(built, [ONE], {}, disable=("float_rope",)).disable == ("float_rope",)
    change(built, TWO, lambda record: record.update(upstream="0" * 40))
    with pytest.raises(UsageError, match="was built from upstream 0000"):
        request_of(built, [TWO], {})


def test_a_checkpoint_that_is_gone(built: Path, tmp_path: Path) -> None:
    change(built, ONE, lambda record: record.update(weights={"checkpoint": str(tmp_path / "sam3.pt")}))
    with pytest.raises(UsageError, match="which is not there") as raised:
        request_of(built, [ONE], {})
    assert "--checkpoint" in raised.value.remedy
    with pytest.raises(UsageError, match="no seed"):
        request_of(built, [ONE], {"seed": 0})
    elsewhere = tmp_path / "moved.pt"
    elsewhere.touch()
    found = request_of(built, [ONE], {"checkpoint": elsewhere})
    assert (found.checkpoint, found.seed) == (elsewhere, None)


def test_a_build_by_another_state_of_things_is_noticed(built: Path) -> None:
    change(built, ONE, lambda record: record["stages"]["optimise"].update(key="0" * 32))
    assert not is_current(built, request_of(built, [], {}))
    assert is_current(built, replace(request_of(built, [TWO], {}), tuned=usual_schedules()))


def test_capacities_are_taken_from_it(built: Path) -> None:
    assert request_of(built, [], {}).capacity == Capacity()
