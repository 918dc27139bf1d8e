"""The declarations hold for `full` as well: its modules on tensors without data, since the real ones take minutes."""

from __future__ import annotations

from typing import Any

import pytest

import sam3port
from sam3port.artifact.interface import Capacity
from sam3port.compiler.declared import check_program
from sam3port.compiler.export import quiet
from sam3port.model.preset import FULL
from sam3port.upstream.source import Upstream
from tests.components.conftest import COMPONENTS

CAPACITIES = (Capacity(), Capacity(prompts=2, points=3, boxes=4))
LOOK_AT_VALUES = {"transformer_decoder", "prompt_encoder", "mask_decoder"}
"""Modules that read numbers outside torch.export, so that only their exported graphs have shapes alone."""


@pytest.fixture(scope="module")
def full(upstream_source: Upstream) -> Any:
    """Upstream's own model, from upstream's own builder, on the device without memory."""
    assert upstream_source.pinned
    sam3port.install()
    import torch

    class Values(torch.overrides.TorchFunctionMode):
        """`ViT` reads the numbers of one linspace (sam3/model/vitdet.py:749)."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            return func(*args, **(kwargs | {"device": "cpu"} if func is torch.linspace else kwargs))

    from sam3.model_builder import build_sam3_image_model

    with torch.device("meta"), Values():
        model = build_sam3_image_model(device="cpu", load_from_HF=False, enable_inst_interactivity=True)
    # What the tracker's constructor enters and never leaves (see `sam3port.model.build`).
    model.inst_interactive_predictor.model.bf16_context.__exit__(None, None, None)
    model.to("meta").requires_grad_(False)
    # Autocast, which the decoder switches off for its feed-forward layers, knows no device "meta".
    decoder = model.transformer.decoder.to_empty(device="cpu")
    decoder.compilable_cord_cache = decoder._get_coords(FULL.grid, FULL.grid, "cpu")
    return model


@pytest.mark.parametrize("name", COMPONENTS)
def test_declarations_hold(name: str, full: Any) -> None:
    import torch

    component = COMPONENTS[name](CAPACITIES[0])
    device = "cpu" if name == "transformer_decoder" else "meta"
    module = component.module(full, FULL).eval().to(device)
    for capacity in CAPACITIES:
        component = COMPONENTS[name](capacity)
        given = tuple(
            torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=device) for spec in component.inputs(FULL)
        )
        with torch.no_grad(), quiet():
            if name in LOOK_AT_VALUES:
                check_program(component, FULL, torch.export.export(module, given, strict=False))
                continue
            results = module(*given)
        declared = [(spec.shape, f"torch.{spec.dtype}") for spec in component.outputs(FULL)]
        assert [(tuple(result.shape), str(result.dtype)) for result in results] == declared
