"""torch.export works on every component, and the exported programs compute what the modules compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam3port.artifact.interface import Arrays
from sam3port.compiler.declared import check_example, check_program
from sam3port.compiler.export import export_module
from sam3port.model.preset import Preset
from tests.components.conftest import BATCHED, COMPONENTS, Stage, run

PADDING_IS_MASKED = {"prompt_encoder", "mask_decoder"}
"""Outside torch.export these run upstream without padding: other shapes, so sums in another order."""


@pytest.mark.parametrize("name", COMPONENTS)
def test_exported_is_eager(name: str, tiny: Any, sizes: Preset) -> None:
    component = COMPONENTS[name](BATCHED)
    stage = Stage(component, tiny, sizes)
    example = component.example(sizes, 0)
    check_example(component, sizes, example)
    before = stage(example)
    program = export_module(stage.module, example)
    for output, array in stage(example).items():
        np.testing.assert_array_equal(array, before[output], err_msg=f"{output} after the export")
    check_program(component, sizes, program)
    exported = program.module()
    cases = {"another seed": component.example(sizes, 7), **component.edges(sizes)}
    for case, inputs in cases.items():
        expected, found = stage(inputs), run(exported, inputs, stage.outputs)
        for output, array in expected.items():
            if name in PADDING_IS_MASKED:
                scale = max(1.0, float(np.abs(array).max()))
                np.testing.assert_allclose(found[output] / scale, array / scale, 0, 3e-6, err_msg=f"{case}, {output}")
            else:
                np.testing.assert_array_equal(found[output], array, err_msg=f"{case}, {output}")


@pytest.mark.parametrize("name", sorted(PADDING_IS_MASKED))
def test_padding_of_clicks_is_really_masked(name: str, tiny: Any, sizes: Preset) -> None:
    """What stands in padding is not seen: neither as clicks nor as embeddings."""
    component = COMPONENTS[name](BATCHED)
    inputs = component.example(sizes, 1)
    mask = inputs["click_mask" if name == "prompt_encoder" else "sparse_mask"]
    assert mask.any()
    changed = "clicks" if name == "prompt_encoder" else "sparse"
    noise: Arrays = {**inputs, changed: np.where(mask[..., None], np.float32(7), inputs[changed])}
    exported = export_module(component.module(tiny, sizes), inputs).module()
    outputs = [spec.name for spec in component.outputs(sizes)]
    expected, found = run(exported, inputs, outputs), run(exported, noise, outputs)
    for output in outputs:
        np.testing.assert_array_equal(found[output], expected[output])


def test_export_leaves_no_traced_tensor_in_the_cache_of_positions(tiny: Any, sizes: Preset) -> None:
    """The first thing that a build does with a model is to export its vision backbone."""
    import torch

    component = COMPONENTS["vision_backbone"]()
    cache = tiny.backbone.vision_backbone.position_encoding.cache
    cache.clear()
    export_module(component.module(tiny, sizes), component.example(sizes, 0))
    assert set(cache) == set(sizes.pyramid_sizes)
    assert {type(tensor) for tensor in cache.values()} == {torch.Tensor}
