"""Our patches on upstream's real releases after the pin.

What really differs, seen in the wheels: 0.1.3 has another version number in sam3/__init__.py; 0.1.4 besides imports
decord where it reads a video, as our patch decord_stub would have it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3port.patching.drift import PatchDrift, Verdict
from sam3port.patching.install import make_plan
from sam3port.patching.plan import Plan
from sam3port.patching.trial import State, try_patches
from sam3port.upstream.source import Upstream

DATASET = "sam3/train/data/sam3_image_dataset.py"


def plan_for(release: Path) -> Plan:
    plan = make_plan(release, frozenset())
    assert not plan.upstream.pinned
    return plan


def changed_files(release: Path, pinned: Path) -> set[str]:
    found = set()
    for root, other in ((release, pinned), (pinned, release)):
        for file in (root / "sam3").rglob("*.py"):
            name = file.relative_to(root)
            if not (other / name).is_file() or (other / name).read_bytes() != file.read_bytes():
                found.add(name.as_posix())
    return found


def test_the_releases_differ_from_the_pin_as_described(later_releases: dict[str, Path], upstream_root: Path) -> None:
    assert changed_files(later_releases["0.1.3"], upstream_root) == {"sam3/__init__.py"}
    assert changed_files(later_releases["0.1.4"], upstream_root) == {"sam3/__init__.py", DATASET}


def test_every_patch_applies_to_0_1_3(later_releases: dict[str, Path]) -> None:
    assert plan_for(later_releases["0.1.3"]).drifts() == []


def test_one_edit_drifts_in_0_1_4(later_releases: dict[str, Path]) -> None:
    (drift,) = plan_for(later_releases["0.1.4"]).drifts()
    assert drift.patch == "decord_stub"
    assert drift.where == "sam3.train.data.sam3_image_dataset"
    # The same line, now inside of a function: whoever reads that sees at once that the patch may go.
    assert drift.verdict is Verdict.MOVED
    assert drift.detail == f"the text now stands in {drift.where}:CustomCocoDetectionAPI._load_images"
    assert "--disable decord_stub" in PatchDrift(drift).remedy


def test_every_other_patch_gives_the_text_that_it_gives_at_the_pin(
    later_releases: dict[str, Path], upstream_source: Upstream
) -> None:
    plan = plan_for(later_releases["0.1.4"])
    pinned = Plan(upstream_source, plan.patches)
    for module in plan.edited_modules():
        if module == "sam3.train.data.sam3_image_dataset":
            continue
        source, original = plan.pristine(module), pinned.pristine(module)
        assert source is not None
        assert source == original
        assert plan.patched(module, source) == pinned.patched(module, original)


@pytest.mark.parametrize("version", ["0.1.3", "0.1.4"])
def test_in_a_fresh_interpreter(later_releases: dict[str, Path], version: str) -> None:
    """The real import: what drifts is named, and everything else is still seen to apply."""
    _, outcomes = try_patches(later_releases[version])
    states = {outcome.patch.name: outcome.state for outcome in outcomes}
    drifted = {"decord_stub"} if version == "0.1.4" else set()
    assert {name for name, state in states.items() if state is State.DRIFT} == drifted
    assert {state for name, state in states.items() if name not in drifted} <= {State.APPLIED, State.NOT_NEEDED}


def test_switched_off_0_1_4_is_fine(later_releases: dict[str, Path]) -> None:
    assert make_plan(later_releases["0.1.4"], frozenset({"decord_stub"})).drifts() == []
