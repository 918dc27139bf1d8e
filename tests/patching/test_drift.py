"""Every verdict, on the real upstream with real changes, and what the error says."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3port.patching import Edit, Kind, Patch
from sam3port.patching.drift import Drift, PatchDrift, Verdict
from sam3port.patching.plan import Plan
from sam3port.plugins import load_plugins
from sam3port.upstream.source import Upstream, locate
from tests.conftest import clean_environment
from tests.upstream.conftest import commit_all

BOXES = "sam3/model/geometry_encoders.py"
BOXES_MODULE = "sam3.model.geometry_encoders"
BOXES_SYMBOL = "SequenceGeometryEncoder._encode_boxes"
EDT = "sam3/model/edt.py"
PIN = "scale = scale.pin_memory().to(device=boxes_xyxy.device, non_blocking=True)"


def built_in(name: str) -> Patch:
    return load_plugins().patches()[name]


def drifts(checkout: Path, *patches: Patch) -> list[Drift]:
    commit_all(checkout)
    located = locate(checkout)
    assert not located.pinned
    return Plan(located, patches).drifts()


def change(checkout: Path, file: str, before: str, after: str) -> None:
    text = (checkout / file).read_text()
    assert text.count(before) == 1, f"the test is out of date: {text.count(before)} times"
    (checkout / file).write_text(text.replace(before, after))


def the_drift(checkout: Path, patch: Patch) -> Drift:
    (drift,) = drifts(checkout, patch)
    assert drift.patch == patch.name
    return drift


def test_nothing_drifts_in_a_checkout_that_says_the_same(checkout: Path) -> None:
    assert drifts(checkout, *load_plugins().patches().values()) == []


def test_a_change_elsewhere_in_the_module_is_none(checkout: Path) -> None:
    """No gate on whole files: only the text to replace matters."""
    for file in (BOXES, EDT):
        (checkout / file).write_text("# another first line\n" + (checkout / file).read_text() + "\n# and last\n")
    change(
        checkout,
        BOXES,
        "class SequenceGeometryEncoder(",
        "class Additional:\n    pass\n\n\nclass SequenceGeometryEncoder(",
    )
    assert drifts(checkout, *load_plugins().patches().values()) == []


@pytest.mark.parametrize(
    "layout",
    [
        "scale = scale.pin_memory().to(\n            device=boxes_xyxy.device, non_blocking=True\n        )",
        "scale = (\n            scale.pin_memory()\n            .to(\n                device=boxes_xyxy.device,\n"
        "                non_blocking=True,\n            )\n        )",
        "scale = scale . pin_memory ( ) . to(device = boxes_xyxy.device, non_blocking = True)",
        "scale = scale.pin_memory(  # page-locked\n        ).to(device=boxes_xyxy.device, non_blocking=True)",
        "scale = \\\n            scale.pin_memory().to(device=boxes_xyxy.device, non_blocking=True)",
        "scale = scale.pin_memory().to( device=boxes_xyxy.device, non_blocking=True)",
    ],
)
def test_reformatted(checkout: Path, layout: str) -> None:
    change(checkout, BOXES, PIN, layout)
    found = the_drift(checkout, built_in("pin_memory"))
    assert (found.verdict, found.edit.module, found.edit.symbol) == (
        Verdict.REFORMATTED,
        BOXES_MODULE,
        BOXES_SYMBOL,
    )


@pytest.mark.parametrize(
    "edited",
    [
        "scale = scale.pin_memory(scale.device).to(device=boxes_xyxy.device, non_blocking=True)",
        "scale2 = scale.pin_memory().to(device=boxes_xyxy.device, non_blocking=True)",
        "scale = scale.pin_memory().to(boxes_xyxy.device)",
        "# scale = scale.pin_memory(). to(device=boxes_xyxy.device, non_blocking=True)",
        "'scale = scale.pin_memory(). to(device=boxes_xyxy.device, non_blocking=True)'",
    ],
)
def test_edited(checkout: Path, edited: str) -> None:
    change(checkout, BOXES, PIN, edited)
    found = the_drift(checkout, built_in("pin_memory"))
    assert found.verdict is Verdict.EDITED
    assert found.detail == "the text to replace no longer stands there"


def test_edited_because_the_symbol_is_gone(checkout: Path) -> None:
    change(checkout, BOXES, "def _encode_boxes(", "def _embed_boxes(")
    change(checkout, BOXES, PIN, "scale = scale.to(boxes_xyxy.device)")
    found = the_drift(checkout, built_in("pin_memory"))
    assert (found.verdict, found.detail) == (Verdict.EDITED, "the symbol is gone")


def test_moved_to_another_function(checkout: Path) -> None:
    change(checkout, BOXES, PIN, "scale = self._to_device(scale, boxes_xyxy)")
    change(
        checkout,
        BOXES,
        "    def _encode_boxes(",
        f"    def _to_device(self, scale, boxes_xyxy):\n        {PIN}\n        return scale\n\n    def _encode_boxes(",
    )
    found = the_drift(checkout, built_in("pin_memory"))
    assert found.verdict is Verdict.MOVED
    assert found.detail == f"the text now stands in {BOXES_MODULE}:SequenceGeometryEncoder._to_device"


def test_moved_with_its_function_to_another_module(checkout: Path) -> None:
    text = (checkout / EDT).read_text()
    (checkout / "sam3/model/distance.py").write_text(text)
    (checkout / EDT).write_text("from sam3.model.distance import edt_triton  # noqa: F401\n")
    found = the_drift(checkout, built_in("edt_cpu"))
    assert found.verdict is Verdict.MOVED
    assert found.detail == "the symbol and its text now stand in sam3.model.distance"


def test_moved_to_module_level(checkout: Path) -> None:
    change(checkout, BOXES, "def _encode_boxes(", "def _embed_boxes(")
    found = the_drift(checkout, built_in("pin_memory"))
    assert found.verdict is Verdict.MOVED
    assert found.detail == f"the text now stands in {BOXES_MODULE}:SequenceGeometryEncoder._embed_boxes"


def test_what_another_edit_of_the_patch_expects_has_not_moved(checkout: Path) -> None:
    """Both `forward_text` and its checkpointed twin have the same default; upstream mends one of them."""
    file = checkout / "sam3/model/vl_combiner.py"
    text = file.read_text()
    at = text.index('device="cuda"')
    file.write_text(text[:at] + "device=None" + text[at + len('device="cuda"') :])
    found = the_drift(checkout, built_in("cpu_device"))
    assert found.edit.symbol == "SAM3VLBackbone.forward_text"
    assert found.verdict is Verdict.EDITED


def test_ambiguous(checkout: Path) -> None:
    change(checkout, BOXES, PIN, f"{PIN}; {PIN}")
    found = the_drift(checkout, built_in("pin_memory"))
    assert (found.verdict, found.detail) == (Verdict.AMBIGUOUS, "the text occurs 2 times in it")


def with_patch(plan: Plan, checkout: Path, patch: Patch) -> None:
    for module in patch.modules:
        file = checkout / f"{module.replace('.', '/')}.py"
        file.write_text(plan.patched(module, file.read_text()))


ALL = sorted(name for name, patch in load_plugins().patches().items() if patch.edits)


@pytest.mark.parametrize("name", ALL)
def test_already_fixed(checkout: Path, upstream_source: Upstream, name: str) -> None:
    """Upstream took the patch over word for word: not one of its edits is made a second time."""
    patch = built_in(name)
    with_patch(Plan(upstream_source, (patch,)), checkout, patch)
    found = drifts(checkout, patch)
    assert len(found) == len(patch.edits)
    for drift in found:
        # An edit that only takes text away leaves nothing to be recognised by.
        expected = {Verdict.ALREADY_FIXED} if drift.edit.after_is_telling else {Verdict.EDITED, Verdict.MOVED}
        assert drift.verdict in expected, str(drift)


def test_already_fixed_in_another_layout(checkout: Path) -> None:
    chosen = "scale.pin_memory()\n            if boxes_xyxy.is_cuda\n            else scale"
    change(
        checkout,
        BOXES,
        PIN,
        f"scale = (\n            {chosen}\n        ).to(\n            device=boxes_xyxy.device\n        )",
    )
    found = the_drift(checkout, built_in("pin_memory"))
    assert found.verdict is Verdict.ALREADY_FIXED


def test_taking_text_away_is_not_recognised_by_what_stays(checkout: Path) -> None:
    """`.eval()` stays where `.cuda()` became `.to("cuda")`: upstream still needs the patch."""
    change(checkout, "sam3/model/sam3_video_predictor.py", "            .cuda()\n", '            .to("cuda")\n')
    found = the_drift(checkout, built_in("cpu_device_video"))
    assert found.edit.symbol == "Sam3VideoPredictor.__init__"
    assert found.verdict is Verdict.EDITED


def test_module_gone(checkout: Path) -> None:
    (checkout / EDT).unlink()
    found = the_drift(checkout, built_in("edt_cpu"))
    assert (found.verdict, found.detail) == (Verdict.MODULE_GONE, "there is no such module in this upstream")


def test_module_renamed(checkout: Path) -> None:
    (checkout / EDT).rename(checkout / "sam3/model/distance.py")
    found = the_drift(checkout, built_in("edt_cpu"))
    assert found.verdict is Verdict.MODULE_GONE
    assert found.detail == "there is no such module; its text now stands in sam3.model.distance"


def test_module_became_a_package(checkout: Path) -> None:
    """The module still has its name: nothing drifts."""
    (checkout / "sam3/model/edt").mkdir()
    (checkout / EDT).rename(checkout / "sam3/model/edt/__init__.py")
    assert drifts(checkout, built_in("edt_cpu")) == []


def mine(*edits: Edit) -> Patch:
    return Patch("mine", Kind.FIX, "s", "r", "u", "w", edits)


def test_conflict(checkout: Path) -> None:
    rival = mine(Edit(BOXES_MODULE, BOXES_SYMBOL, "scale.pin_memory()", "scale"))
    (found,) = drifts(checkout, built_in("pin_memory"), rival)
    assert (found.patch, found.verdict) == ("mine", Verdict.CONFLICT)
    assert found.detail == "it replaces text that the patch pin_memory replaces too"
    assert PatchDrift(found).remedy == "switch one of the two off with --disable NAME"


def test_conflict_with_a_patch_that_took_over_an_edit(checkout: Path) -> None:
    """One Edit object in two patches: each is still named."""
    (found,) = drifts(checkout, built_in("pin_memory"), mine(built_in("pin_memory").edits[0]))
    assert str(found).startswith(f"the patch mine does not apply to {BOXES_MODULE}:{BOXES_SYMBOL}: conflict: ")
    assert "the patch pin_memory replaces too" in str(found)


def test_no_python(checkout: Path) -> None:
    (checkout / EDT).write_text("def edt_triton(:\n    assert data.is_cuda\n")
    process = import_sam3(checkout, "edt_cpu")
    assert "PatchError: upstream's module sam3.model.edt is not valid Python (line 1" in process.stderr


def test_every_drift_is_found_not_only_the_first(checkout: Path) -> None:
    (checkout / EDT).unlink()
    change(checkout, BOXES, PIN, f"{PIN}; {PIN}")
    found = drifts(checkout, *(built_in(name) for name in ("edt_cpu", "pin_memory", "triton_stub")))
    assert {(drift.patch, drift.verdict) for drift in found} == {
        ("edt_cpu", Verdict.MODULE_GONE),
        ("triton_stub", Verdict.MODULE_GONE),
        ("pin_memory", Verdict.AMBIGUOUS),
    }


def import_sam3(checkout: Path, only: str | None = None, code: str = "import sam3") -> subprocess.CompletedProcess[str]:
    """Imports the changed upstream in a fresh interpreter, with one patch, or with none."""
    commit_all(checkout)
    off = ",".join(name for name in load_plugins().patches() if name != only)
    return subprocess.run(
        [sys.executable, "-c", f"import sam3port; sam3port.install(); {code}"],
        cwd=checkout.parent,
        env=clean_environment(SAM3PORT_UPSTREAM=str(checkout), SAM3PORT_DISABLE=off),
        capture_output=True,
        text=True,
        timeout=120,
    )


def _edit_boxes(checkout: Path) -> None:
    change(checkout, BOXES, PIN, "scale = scale.pin_memory(0).to(boxes_xyxy.device)")


def _duplicate_boxes(checkout: Path) -> None:
    change(checkout, BOXES, PIN, f"{PIN}; {PIN}")


def _reformat_boxes(checkout: Path) -> None:
    change(checkout, BOXES, PIN, PIN.replace("to(device", "to( device"))


def _mend_boxes(checkout: Path) -> None:
    change(
        checkout, BOXES, PIN, PIN.replace("scale.pin_memory()", "(scale.pin_memory() if boxes_xyxy.is_cuda else scale)")
    )


def _rename_method(checkout: Path) -> None:
    change(checkout, BOXES, "def _encode_boxes(", "def _embed_boxes(")


def _remove_module(checkout: Path) -> None:
    (checkout / BOXES).unlink()


@pytest.mark.parametrize(
    ("damage", "verdict", "way_out"),
    [
        (_edit_boxes, "edited", "if this upstream works without it, or update the patch's text"),
        (_duplicate_boxes, "ambiguous", "if this upstream works without it, or update the patch's text"),
        (_reformat_boxes, "reformatted", "if this upstream works without it, or update the patch's text"),
        (_rename_method, "moved", "if this upstream works without it, or update the patch's text"),
        (_remove_module, "module gone", "if this upstream works without it, or update the patch's text"),
        (_mend_boxes, "already fixed", "this upstream no longer needs it"),
    ],
)
def test_the_error_at_the_import(checkout: Path, damage: Callable[[Path], None], verdict: str, way_out: str) -> None:
    """It names the patch, the module, the symbol, the verdict and the ways out, before upstream's first line runs."""
    damage(checkout)
    process = import_sam3(checkout, "pin_memory", code="print('installed')\nimport sam3")
    error, remedy = process.stderr.strip().split("\n")[-2:]
    assert process.stdout == "installed\n"
    where = re.escape(f"{BOXES_MODULE}:{BOXES_SYMBOL}")
    assert re.search(rf"PatchDrift: the patch pin_memory does not apply to {where}: {verdict}: \w", error)
    assert "--disable pin_memory" in remedy
    assert "SAM3PORT_DISABLE=pin_memory" in remedy
    assert way_out in remedy
    assert "torch" not in process.stderr


def test_a_renamed_module_that_nothing_imports_is_missed_all_the_same(checkout: Path) -> None:
    """A quiet no-op otherwise: upstream imports its kernels inside of functions, and this one nowhere at all."""
    (checkout / "sam3/train/loss/sigmoid_focal_loss.py").rename(checkout / "sam3/train/loss/focal.py")
    process = import_sam3(checkout, "triton_stub")
    assert "the patch triton_stub does not apply to sam3.train.loss.sigmoid_focal_loss: module gone" in process.stderr


def test_switched_off_it_is_no_error(checkout: Path) -> None:
    """The way out works: what is left is upstream's own failure, not ours."""
    (checkout / "sam3/__init__.py").write_text("VERSION = 'mine'\n")
    _remove_module(checkout)
    code = "import sam3; print(sam3.VERSION)"
    assert "PatchDrift" in import_sam3(checkout, "pin_memory", code).stderr
    assert import_sam3(checkout, code=code).stdout == "mine\n"


def test_a_drift_is_no_import_error(checkout: Path) -> None:
    """Upstream guards optional imports with `except ImportError` and would go on without the patch."""
    _edit_boxes(checkout)
    code = "\ntry:\n    import sam3\nexcept ImportError:\n    print('swallowed')"
    process = import_sam3(checkout, "pin_memory", code)
    assert "swallowed" not in process.stdout
    assert "PatchDrift" in process.stderr


def test_a_drift_travels_between_processes(checkout: Path) -> None:
    """A pool of multiprocessing hangs on an error of a worker that cannot be unpickled."""
    _edit_boxes(checkout)
    error = PatchDrift(the_drift(checkout, built_in("pin_memory")))
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.drift, back.remedy) == (str(error), error.drift, error.remedy)


def test_a_module_that_was_emptied(checkout: Path) -> None:
    (checkout / EDT).write_text("")
    found = the_drift(checkout, built_in("edt_cpu"))
    assert (found.verdict, found.detail) == (Verdict.EDITED, "the symbol is gone")
