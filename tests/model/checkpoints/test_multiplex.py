"""SAM 3.1: the detector without its fourth level, the right decoder for clicks, IoU scores without a sigmoid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam3port.components.component import Component
from sam3port.model.build import skeleton
from sam3port.model.checkpoints.names_multiplex import MULTIPLEX
from sam3port.model.checkpoints.parts import MEMORY, in_checkpoint
from sam3port.model.checkpoints.survey import survey
from sam3port.model.preset import FULL, Preset, Traits, preset
from sam3port.plugins import load_plugins
from tests.model.checkpoints.conftest import load, refused
from tests.model.checkpoints.writing import multiplex_tensors, write_torch
from tests.model.grounding import run

TRAITS = Traits(fourth_level=False, iou_sigmoid=False)


@pytest.fixture(scope="module")
def file(three_levels: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_torch(tmp_path_factory.mktemp("multiplex") / "weights.bin", multiplex_tensors(three_levels))


@pytest.fixture(scope="module")
def loaded(file: Path) -> Any:
    return load(file)


def test_round_trip(file: Path, loaded: Any, three_levels: Any) -> None:
    found = survey(file)
    assert (found.title, found.traits, found.lacks) == ("SAM 3.1 (multiplex)", TRAITS, ())
    assert any("video" in note for note in found.notes)
    read, wanted = loaded.state_dict(), three_levels.state_dict()
    differ = {in_checkpoint(name) for name in read if not torch.equal(read[name], wanted[name])}
    assert differ == {in_checkpoint(name) for name in read if in_checkpoint(name).startswith(MEMORY.prefixes)}


def test_the_published_files_names() -> None:
    """1305 of its 1623; the other 318 are for video."""
    model: Any = skeleton(FULL.with_traits(TRAITS))
    names = [in_checkpoint(name) for name in model.state_dict()]
    wanted = [name for name in names if not name.startswith(MEMORY.prefixes)]
    recipes = [MULTIPLEX.recipe(name) for name in wanted]
    assert len({recipe.names[0] for recipe in recipes if recipe}) == len(wanted) == 1305
    assert (len(model.backbone.vision_backbone.convs), model.backbone.scalp) == (3, 0)
    head = model.inst_interactive_predictor.model.sam_mask_decoder.iou_prediction_head
    assert head.sigmoid_output is False


def test_only_what_is_dropped_and_the_scores_differ_from_sam_3(tiny: Any, three_levels: Any) -> None:
    """The same weights: the fourth level is computed for nothing."""
    own, fewer = run(tiny, preset("tiny")), run(three_levels, preset("tiny", None, TRAITS))
    own.pop("memory"), fewer.pop("memory")
    scores, logits = own.pop("click_scores"), fewer.pop("click_scores")
    assert all(torch.equal(value, fewer[name]) for name, value in own.items())
    torch.testing.assert_close(logits.sigmoid(), scores, rtol=0, atol=1e-6)
    assert (logits < 0).any() or (logits > 1).any()


def _exported(component: Component, model: Any, sizes: Preset) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs of upstream and of the exported program."""
    from sam3port.compiler.declared import check_program
    from sam3port.compiler.export import export_module

    module = component.module(model, sizes).eval()
    example = component.example(sizes, 3)
    program = export_module(module, example)
    check_program(component, sizes, program)
    given = [torch.from_numpy(np.array(array)) for array in example.values()]
    names = [spec.name for spec in component.outputs(sizes)]
    with torch.no_grad():
        own, theirs = module(*given), program.module()(*given)
    return dict(zip(names, own, strict=True)), dict(zip(names, theirs, strict=True))


@pytest.mark.parametrize("name", ["mask_decoder", "image_encoder"])
def test_components_are_exported_as_the_weights_are(name: str, loaded: Any, tiny: Any) -> None:
    component = load_plugins().components()[name]()
    own, exported = _exported(component, loaded, preset("tiny", None, TRAITS))
    for output, value in own.items():
        torch.testing.assert_close(exported[output], value, rtol=1e-4, atol=1e-4)
    if name == "mask_decoder":
        with_sigmoid, _ = _exported(component, tiny, preset("tiny"))
        torch.testing.assert_close(own["iou_scores"].sigmoid(), with_sigmoid["iou_scores"], rtol=0, atol=1e-6)
        assert not torch.allclose(own["iou_scores"], with_sigmoid["iou_scores"], atol=1e-2)
        assert torch.equal(own["masks"], with_sigmoid["masks"])
    else:
        assert "features_3" not in own


def test_videos_decoder_does_not_answer_clicks(three_levels: Any, tmp_path: Path) -> None:
    """Upstream's own loader takes it, without a word: what it makes of "tracker.model." fits nothing."""
    kept = {k: v for k, v in multiplex_tensors(three_levels).items() if "interactive_sam_mask_decoder" not in k}
    refused(write_torch(tmp_path / "x", kept), "missing from the file: tracker.model.interactive_sam_mask_decoder")


def test_what_is_not_videos_is_refused(three_levels: Any, tmp_path: Path) -> None:
    more = {**multiplex_tensors(three_levels), "detector.more.weight": torch.zeros(1)}
    refused(write_torch(tmp_path / "x", more), "1 unknown to the model: detector.more.weight")
