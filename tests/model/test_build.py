from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sam3port.errors import UsageError
from sam3port.model.build import build_model, construct
from sam3port.model.preset import preset
from sam3port.model.weights import weights_digest
from tests.conftest import RunPython
from tests.model.grounding import run

TINY = preset("tiny")


@pytest.mark.parametrize("given", [{}, {"seed": 0, "checkpoint": Path("sam3.pt")}])
def test_seed_or_checkpoint(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="either a seed or a checkpoint"):
        build_model(TINY, **given)


def test_tiny_is_ready_to_use(tiny: Any) -> None:
    assert not tiny.training
    assert {p.dtype for p in tiny.parameters()} == {torch.float32}
    assert {p.device.type for p in tiny.parameters()} == {"cpu"}
    assert not any(p.requires_grad for p in tiny.parameters())
    assert tiny.inst_interactive_predictor is not None
    assert tiny.backbone.vision_backbone.sam2_convs is not None


def test_forward_of_everything_takes_well_under_a_second(tiny: Any) -> None:
    run(tiny, TINY)
    start = time.process_time()  # on one thread; the machine may have other work
    seen = run(tiny, TINY)
    assert time.process_time() - start < 0.7
    assert seen["pred_masks"].shape == (1, TINY.num_queries, TINY.mask_size, TINY.mask_size)
    assert seen["click_masks"].shape == (3, TINY.mask_size, TINY.mask_size)


def test_without_interactivity() -> None:
    model: Any = build_model(TINY, seed=0, interactive=False)
    assert model.inst_interactive_predictor is None
    assert model.backbone.vision_backbone.sam2_convs is None
    seen = run(model, TINY)
    assert "click_masks" not in seen
    assert torch.isfinite(seen["pred_masks"]).all()


def test_the_rest_does_not_depend_on_interactivity(tiny: Any) -> None:
    without, with_ = run(build_model(TINY, seed=0, interactive=False), TINY), run(tiny, TINY)
    assert all(torch.equal(value, with_[name]) for name, value in without.items())


@pytest.mark.parametrize("size", [56, 168])
def test_other_resolution(size: int, tiny: Any) -> None:
    chosen = preset("tiny", size)
    model: Any = build_model(chosen, seed=0)
    seen = run(model, chosen)
    grid = size // 14
    assert seen["pred_masks"].shape == (1, 20, grid * 4, grid * 4)
    assert seen["click_masks"].shape == (3, grid * 4, grid * 4)
    assert [tuple(seen[f"features_{i}"].shape[-2:]) for i in range(3)] == [(grid * k, grid * k) for k in (4, 2, 1)]
    assert all(torch.isfinite(value).all() for value in seen.values())
    # The same weights: only the rotary tables of the global blocks differ.
    mine, own = model.state_dict(), tiny.state_dict()
    changed = {name for name in own if own[name].shape != mine[name].shape or not torch.equal(own[name], mine[name])}
    assert changed == {f"backbone.vision_backbone.trunk.blocks.{i}.attn.freqs_cis" for i in TINY.vit_global_blocks}


def test_click_hits_the_same_place_at_every_resolution() -> None:
    """A size left at 1008 or at the preset's own would move the click; the coordinates are relative to the image."""
    from sam3.model.utils.sam1_utils import SAM2Transforms

    for size in (56, 168):
        model: Any = build_model(preset("tiny", size), seed=0)
        transforms: SAM2Transforms = model.inst_interactive_predictor._transforms
        encoder = model.inst_interactive_predictor.model.sam_prompt_encoder
        points = transforms.transform_coords(torch.tensor([[[0.0, 0.0]]]), normalize=True, orig_hw=(512, 512))
        centre = transforms.transform_coords(torch.tensor([[[256.0, 256.0]]]), normalize=True, orig_hw=(512, 512))
        assert points.tolist() == [[[0.0, 0.0]]]
        assert (centre / torch.tensor(encoder.input_image_size)).tolist() == [[[0.5, 0.5]]]


def test_outputs_depend_on_the_image_and_the_prompt(tiny: Any) -> None:
    seen = run(tiny, TINY)
    other_text = run(tiny, TINY, text="a dog on a blue sofa")
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    other_photo = run(tiny, TINY, photo=noise)
    for name in ("pred_logits", "pred_boxes", "pred_masks", "presence"):
        scale = seen[name].abs().mean()
        assert (other_text[name] - seen[name]).abs().mean() > 0.01 * scale, name
        assert (other_photo[name] - seen[name]).abs().mean() > 0.01 * scale, name
    assert torch.equal(other_text["features_0"], seen["features_0"])


def test_nothing_is_drawn_that_weights_overwrite() -> None:
    """In the full model it took most of the time of building it."""

    class Drawing(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            drawn.append(str(func))
            return func(*args, **(kwargs or {}))

    drawn: list[str] = []
    with Drawing():
        construct(TINY)
    assert "aten.clone.default" in drawn
    assert not {name for name in drawn if name in {"aten.uniform_.default", "aten.normal_.default"}}


def test_building_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    construct(TINY)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.is_autocast_enabled("cuda")
    assert not torch.is_autocast_enabled("cpu")
    assert torch.get_default_dtype() == torch.float32
    # A mode left behind would skip this one too.
    assert torch.empty(8).uniform_(2, 3).min() >= 2


def test_installs_the_hook_by_itself(tiny: Any, upstream_python: RunPython) -> None:
    """And the weights are the same bytes in another process with other threads."""
    result = upstream_python(
        """
        import torch
        torch.set_num_threads(2)
        from sam3port.model.build import build_model
        from sam3port.model.preset import preset
        from sam3port.model.weights import weights_digest
        from sam3port.patching import install
        torch.manual_seed(5)
        model = build_model(preset("tiny"), seed=0)
        print("float_rope" in install.current().patches, type(model).__module__, weights_digest(model))
        """,
        install=False,
        env={"OMP_NUM_THREADS": "2"},
    )
    assert result.stdout.split() == ["True", "sam3.model.sam3_image", weights_digest(tiny)], result.stderr
    assert "CUDA is not available" not in result.stderr


def test_rebuilt_model_is_the_same(tiny: Any) -> None:
    again = build_model(TINY, seed=0)
    assert weights_digest(again) == weights_digest(tiny)
    first, second = run(tiny, TINY), run(again, TINY)
    assert all(torch.equal(first[name], second[name]) for name in first)
