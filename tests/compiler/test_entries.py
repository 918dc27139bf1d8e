"""The wiring of the linked module: what goes from where to where, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sam3port.artifact.interface import Capacity, TensorSpec
from sam3port.artifact.prompts import join
from sam3port.compiler.entries import ENTRIES, PROMPT, Entry, interface, linked_components
from sam3port.components.component import Component
from sam3port.errors import Sam3PortError
from sam3port.model.preset import preset
from sam3port.plugins import load_plugins

SIZES = preset("tiny")
BY_NAME = {entry.name: entry for entry in ENTRIES}


def components(capacity: Capacity | None = None) -> dict[str, Component]:
    known = load_plugins().components()
    return {name: known[name](capacity) for name in linked_components()}


def names(specs: tuple[TensorSpec, ...]) -> list[str]:
    return [spec.name for spec in specs]


@pytest.mark.parametrize("sizes", ["tiny", "full"])
@pytest.mark.parametrize("capacity", [Capacity(), Capacity(prompts=3, points=2, boxes=5)])
def test_every_entry_fits_together(sizes: str, capacity: Capacity) -> None:
    found = {entry.name: interface(entry, components(capacity), preset(sizes)) for entry in ENTRIES}
    image, text = found["encode_image"], found["encode_text"]
    encoded = {spec.name: spec for spec in (*image.outputs, *text.outputs)}
    for name, count in (("ground", 6), ("click", 3)):
        # What the encoders return goes in as it is.
        taken = found[name].inputs[:count]
        assert [encoded[spec.name].shape for spec in taken] == [spec.shape for spec in taken]
        assert not any(spec.name in encoded for spec in found[name].inputs[count:])


def test_the_functions_are_those_that_the_format_promises() -> None:
    assert list(BY_NAME) == ["encode_image", "encode_text", "ground", "click", "exemplar", "ground_like"]
    click = interface(BY_NAME["click"], components(), SIZES)
    assert names(click.outputs) == [
        *("masks", "iou_scores", "single_mask", "single_iou_score", "mask_tokens", "object_logit")
    ]
    assert names(interface(BY_NAME["encode_text"], components(), SIZES).outputs) == ["text_features", "text_mask"]


def test_a_prompt_is_joined_as_everywhere() -> None:
    random = np.random.default_rng(0)
    parts: dict[str, Any] = {
        "text_features": random.standard_normal((5, 2, 4), np.float32),
        "text_mask": random.random((2, 5)) > 0.5,
        "geometry_features": random.standard_normal((3, 2, 4), np.float32),
        "geometry_mask": random.random((2, 3)) > 0.5,
    }
    specs = {name: TensorSpec(name, array.shape, array.dtype.name, "") for name, array in parts.items()}
    for step in PROMPT:
        whole = join(**parts)[step.name]
        np.testing.assert_array_equal(np.concatenate([parts[name] for name in step.parts], step.axis), whole)
        spec = step.joined([specs[name] for name in step.parts])
        assert (spec.name, spec.shape, spec.dtype) == (step.name, whole.shape, whole.dtype.name)


def test_what_nobody_makes_is_named() -> None:
    wrong = replace(BY_NAME["ground"], steps=("transformer_encoder",))
    with pytest.raises(Sam3PortError, match=r"ground: transformer_encoder reads prompt, which nothing"):
        interface(wrong, components(), SIZES)


def test_tensors_that_differ_are_named() -> None:
    many = components()
    many["mask_decoder"] = type(many["mask_decoder"])(Capacity(points=3))
    with pytest.raises(
        Sam3PortError, match=r"click: mask_decoder reads sparse as float32\[1, 6, 64\], it is float32\[1, 11"
    ):
        interface(BY_NAME["click"], many, SIZES)


def test_an_unknown_input_is_named() -> None:
    with pytest.raises(Sam3PortError, match="encode: no component declares sound"):
        interface(Entry("encode", ("sound",), ("image_encoder",)), components(), SIZES)
