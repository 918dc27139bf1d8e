"""`assemble` with upstream's numbers is the model that upstream's builder makes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from sam3port.model.build import construct, skeleton
from sam3port.model.preset import preset

FULL = preset("full")


def _plain(value: object) -> object:
    """What can be compared of an attribute: numbers, names and shapes, also inside of containers."""
    if isinstance(value, torch.Tensor):
        return ("tensor", tuple(value.shape), str(value.dtype))
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return (type(value).__name__, [_plain(each) for each in value])
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, functools.partial):
        return ("partial", _plain(value.func), _plain(value.args), _plain(value.keywords))
    if isinstance(value, type) or callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return type(value).__qualname__


def _settings(module: nn.Module) -> dict[str, object]:
    own = {name: _plain(value) for name, value in vars(module).items() if not name.startswith("_") or name[1] != "_"}
    hooks = [name for name in own if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))]
    for name in (*hooks, "_modules"):
        own.pop(name, None)  # functions by identity; modules are walked by name
    own["children"] = [name for name, _ in module.named_children()]
    return own


def _differences(ours: nn.Module, theirs: nn.Module) -> Iterator[str]:
    mine, upstream = dict(ours.named_modules()), dict(theirs.named_modules())
    for name in sorted(mine.keys() ^ upstream.keys()):
        yield f"module {name} is on one side only"
    for name in mine.keys() & upstream.keys():
        if type(mine[name]) is not type(upstream[name]):
            yield f"{name} is {type(mine[name])}, not {type(upstream[name])}"
        a, b = _settings(mine[name]), _settings(upstream[name])
        yield from (f"{name}.{key}: {a.get(key)!r}, not {b.get(key)!r}" for key in a | b if a.get(key) != b.get(key))


def _tensors(model: nn.Module) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
    return [(name, tuple(value.shape), value.dtype) for name, value in model.state_dict().items()]


@pytest.mark.parametrize("interactive", [True, False])
def test_assembled_full_is_upstreams_model(interactive: bool) -> None:
    theirs = skeleton(FULL, interactive=interactive)
    ours = skeleton(FULL, interactive=interactive, assembled=True)
    assert _tensors(ours) == _tensors(theirs)
    assert list(_differences(ours, theirs)) == []
    assert (ours.inst_interactive_predictor is not None) == interactive
    # A fact about the real model: the comparison above would also hold for two wrong ones.
    sizes = {"predictor": 0, "second neck": 0, "model": 0}
    for name, parameter in theirs.named_parameters():
        predictor, neck = name.startswith("inst_interactive_predictor."), ".sam2_convs." in name
        sizes["predictor" if predictor else "second neck" if neck else "model"] += parameter.numel()
    assert round(sizes["model"] / 1e6, 1) == 840.5
    assert (sizes["predictor"] > 0) == (sizes["second neck"] > 0) == interactive


@pytest.mark.parametrize(
    "change",
    [{"vit_heads": 2}, {"heads": 2}, {"window_size": 2}, {"scalp": 2}, {"ffn_dim": 64}, {"image_size": 168}],
    ids=str,
)
def test_comparison_sees_other_numbers(change: dict[str, Any]) -> None:
    """Some of these leave all shapes as they are; then the settings must tell."""
    tiny = preset("tiny")
    assert list(_differences(skeleton(dataclasses.replace(tiny, **change)), skeleton(tiny)))


def test_assembling_needs_no_constants_of_full() -> None:
    """Sizes that upstream hard-codes follow the preset."""
    model: Any = construct(preset("tiny", 168))
    predictor = model.inst_interactive_predictor
    assert predictor._bb_feat_sizes == [(48, 48), (24, 24), (12, 12)]
    assert predictor._transforms.resolution == 168
    tracker = predictor.model
    assert tracker.image_size == 168
    assert tracker.sam_prompt_encoder.image_embedding_size == (12, 12)
    assert tracker.sam_prompt_encoder.mask_input_size == (48, 48)
    assert tracker.maskmem_backbone.mask_downsampler.interpol_size == [192, 192]
    assert model.transformer.decoder.compilable_stored_size == (12, 12)
    globals_ = [model.backbone.vision_backbone.trunk.blocks[i].attn for i in preset("tiny").vit_global_blocks]
    assert {attention.freqs_cis.shape[0] for attention in globals_} == {144}
