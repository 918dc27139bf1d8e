"""Seeded weights: the same bytes everywhere, and activations as in a trained model."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sam3port.model.build import build_model, construct
from sam3port.model.preset import Preset, preset
from sam3port.model.weights import MEANINGLESS, seed_weights, weights_digest
from tests.model.grounding import run
from tests.model.measure import Measured, measuring

TINY = preset("tiny")


def test_every_tensor_is_filled() -> None:
    model = construct(TINY)
    computed = {name for name in model.state_dict() if name.endswith("freqs_cis")}
    for name, value in model.state_dict().items():
        if name not in computed:
            value.fill_(math.nan)
    seed_weights(model, 0)
    for name, value in model.state_dict().items():
        assert torch.isfinite(value).all(), name
        if name not in computed:
            assert value.abs().max() > 0, name
            assert value.numel() == 1 or value.unique().numel() > 1, f"{name} is constant"


def test_computed_tables_stay() -> None:
    model = construct(TINY)
    before = {n: v.clone() for n, v in model.state_dict().items() if n.endswith("freqs_cis")}
    seed_weights(model, 3)
    assert before
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_same_bytes_as_ever(tiny: Any) -> None:
    """Artifacts and reports name a seed. Whoever changes the scales changes this on purpose."""
    digest = hashlib.sha256()
    for name, value in sorted(tiny.named_parameters()):
        digest.update(name.encode() + value.numpy().tobytes())
    assert digest.hexdigest()[:16] == "8cb6e85db3527116"


def test_other_seed_other_weights(tiny: Any) -> None:
    other = build_model(TINY, seed=1).state_dict()
    same = [n for n, v in tiny.state_dict().items() if torch.equal(v, other[n]) and not n.endswith("freqs_cis")]
    assert same == []


def test_equal_shapes_get_different_weights(tiny: Any) -> None:
    layers = tiny.transformer.decoder.layers
    assert not torch.equal(layers[0].linear1.weight, layers[1].linear1.weight)
    assert not torch.equal(layers[0].norm1.weight, layers[0].norm2.weight)


def test_a_part_gets_the_weights_it_has_in_the_whole() -> None:
    """Streams depend on names only, so a component may seed a module of its own."""
    part = nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)})
    whole = nn.ModuleDict({"c": nn.Linear(4, 4), "b": nn.Linear(8, 8), "a": nn.Linear(8, 8)})
    seed_weights(part, 5)
    seed_weights(whole, 5)
    assert all(torch.equal(whole.state_dict()[name], value) for name, value in part.state_dict().items())


def test_digest_sees_names_shapes_dtypes_and_bytes() -> None:
    def digest(**tensors: Tensor) -> str:
        module = nn.Module()
        for name, value in tensors.items():
            module.register_buffer(name, value)
        return weights_digest(module)

    base = digest(a=torch.zeros(4))
    others = [
        digest(b=torch.zeros(4)),
        digest(a=torch.zeros(2, 2)),
        digest(a=torch.zeros(4, dtype=torch.int32)),
        digest(a=torch.tensor([0.0, 0.0, 0.0, -0.0])),
        digest(a=torch.zeros(4), b=torch.zeros(0)),
    ]
    assert len({base, *others}) == 6
    assert digest(a=torch.zeros(4).reshape(2, 2).T.reshape(4)) == base
    assert digest(a=torch.ones(2, dtype=torch.complex64)) != digest(a=torch.zeros(2, dtype=torch.complex64))


def test_the_user_is_told() -> None:
    assert "mean nothing" in MEANINGLESS


def _check_blocks(measured: Measured) -> None:
    for name, std in measured.activations.items():
        assert 0.3 < std < 8, f"{name}: activations have a standard deviation of {std}"
    for name, change in measured.change.items():
        assert change > 0.1, f"{name} hardly changes its input ({change:.3f}): errors in it could hide"
    for name, spread in measured.spread.items():
        assert spread > 0.15, f"all tokens are alike after {name} ({spread:.3f})"


def _check_attention(measured: Measured) -> None:
    for name, seen in measured.attention.items():
        for each in seen:
            if each.keys > 2:
                assert each.perplexity < 0.9 * each.keys, f"{name}: uniform, {each.perplexity:.1f} of {each.keys} keys"
                assert each.perplexity > 1.05, f"{name}: one key takes all"
                assert each.logits > 0.4, name


def _check_outputs(seen: dict[str, Tensor]) -> None:
    for name, value in seen.items():
        assert torch.isfinite(value).all(), name
    for i in range(3):
        assert 0.2 < seen[f"features_{i}"].std() < 8
        assert 0.2 < seen[f"neck_{i}"].std() < 8
    scores = seen["pred_logits"][0, :, 0].sigmoid()
    assert scores.std() > 0.05, "all queries have the same score"
    assert seen["pred_logits"].abs().max() < 12, "clamped (model_misc.py:77)"
    assert 0.2 < seen["presence"].sigmoid() < 0.99
    boxes = seen["pred_boxes"][0]
    assert (boxes.std(0) > 0.08).all(), "all boxes are alike"
    assert ((boxes > 0.001) & (boxes < 0.999)).float().mean() > 0.95, "boxes are saturated"
    masks = seen["pred_masks"][0]
    covered = (masks > 0).float().mean((1, 2))
    assert 0.5 < masks.std() < 20
    assert ((covered > 0.02) & (covered < 0.98)).float().mean() > 0.6, "masks are empty or full"
    assert masks.flatten(1).std(1).min() > 0.3, "a mask without structure"
    clicks = seen["click_masks"]
    assert clicks.flatten(1).std(1).min() > 0.2
    assert ((clicks > 0).float().mean((1, 2)) - 0.5).abs().min() < 0.49
    assert seen["click_scores"].std() > 0.005
    assert ((seen["click_scores"] > 0.02) & (seen["click_scores"] < 0.98)).all()
    assert 0.3 < seen["memory"].std() < 8


@pytest.mark.parametrize("seed", range(4))
def test_tiny_computes_like_a_trained_model(seed: int) -> None:
    model = build_model(TINY, seed=seed)
    with measuring(model) as measured:
        seen = run(model, TINY)
    _check_blocks(measured)
    _check_attention(measured)
    _check_outputs(seen)
    assert len(measured.attention) > 25


def test_full_computes_like_a_trained_model() -> None:
    """At a third of its image size: all 840 million weights, a ninth of the work."""
    torch.set_num_threads(2)
    small: Preset = preset("full", 336)
    model = build_model(small, seed=0)
    with measuring(model, queries=8) as measured:
        seen = run(model, small)
    _check_blocks(measured)
    _check_attention(measured)
    _check_outputs(seen)


def test_checks_can_fail() -> None:
    """The ways in which random weights usually hide errors: each check must see its own."""
    model: Any = build_model(TINY, seed=0)
    with torch.no_grad():
        for layer in model.transformer.encoder.layers:
            layer.self_attn.in_proj_weight.mul_(0.01)
    with measuring(model) as measured:
        seen = run(model, TINY)
    with pytest.raises(AssertionError, match="uniform"):
        _check_attention(measured)
    model = build_model(TINY, seed=0)
    with torch.no_grad():
        model.transformer.decoder.bbox_embed.layers[-1].bias.add_(20)
    with pytest.raises(AssertionError, match="boxes"):
        _check_outputs(run(model, TINY))
    model = build_model(TINY, seed=0)
    with torch.no_grad():
        for layer in model.inst_interactive_predictor.model.maskmem_backbone.fuser.layers:
            layer.gamma.fill_(1e-6)  # upstream's initial value
    with measuring(model) as measured, pytest.raises(AssertionError, match="hardly changes"):
        run(model, TINY)
        _check_blocks(measured)
    assert seen
