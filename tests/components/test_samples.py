"""Random inputs are like the real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam3port.artifact.interface import Capacity
from sam3port.components.data import specs
from sam3port.components.data.samples import Samples, sine_positions, write_text
from sam3port.model.preset import FULL, Preset


@pytest.mark.parametrize(("channels", "height", "width"), [(64, 8, 8), (256, 72, 72), (32, 5, 9)])
@pytest.mark.usefixtures("tiny")
def test_positions_are_upstreams(channels: int, height: int, width: int) -> None:
    import torch
    from sam3.model.position_encoding import PositionEmbeddingSine

    expected = PositionEmbeddingSine(channels, normalize=True)(torch.zeros(1, 1, height, width)).numpy()
    np.testing.assert_allclose(sine_positions(channels, height, width), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("words", [0, 1, 5, 30, 31, 60])
def test_texts_are_written_as_upstream_writes_them(words: int, tiny: Any, sizes: Preset) -> None:
    tokenizer = tiny.backbone.language_backbone.tokenizer
    text = " ".join(["dog"] * words)
    expected = tokenizer([text], context_length=sizes.text_context)[0].numpy()
    row = np.zeros(sizes.text_context, np.int64)
    write_text(row, [tokenizer.encode("dog")[0]] * words, sizes.text_vocab)
    np.testing.assert_array_equal(row, expected)


def test_boxes_lie_inside_the_image() -> None:
    boxes = Samples(0).boxes(1000)
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    assert low.min() >= -1e-6
    assert high.max() <= 1 + 1e-6
    assert boxes[:, 2:].min() > 0.02


def test_images_have_edges_and_use_the_range(sizes: Preset) -> None:
    image = Samples(0).image(specs.image(sizes))
    assert image.min() < -0.5
    assert image.max() > 0.5
    assert np.abs(image).max() <= 1
    steps = np.abs(np.diff(image, axis=-1))
    assert np.median(steps) < 0.1 < steps.max()


def test_neighbouring_features_are_alike_as_the_models_are(tiny: Any, sizes: Preset) -> None:
    """Size and smoothness of random features beside those that the seeded model has for a random image."""
    import torch

    def measures(features: Any) -> tuple[float, float]:
        array = np.asarray(features)
        neighbours = np.corrcoef(array[..., 1:].ravel(), array[..., :-1].ravel())[0, 1]
        return float(array.std()), float(neighbours)

    with torch.no_grad():
        image = torch.from_numpy(Samples(0).image(specs.image(sizes)))
        real = tiny.backbone.forward_image(image)["backbone_fpn"]
    for level in range(3):
        size, alike = measures(real[level])
        drawn_size, drawn_alike = measures(Samples(1).map(specs.features(sizes, level)))
        assert 0.5 < drawn_size / size < 2, level
        assert abs(drawn_alike - alike) < 0.5, level


def test_prompts_have_padding_of_both_kinds() -> None:
    capacity = Capacity()
    _, spec = specs.prompt(FULL, capacity)
    for seed in range(20):
        mask = Samples(seed).prompt_mask(FULL, spec.shape, specs.geometry_length(capacity))[0]
        text, geometry = mask[: FULL.text_context], mask[FULL.text_context :]
        assert 3 <= (~text).sum() <= 10
        assert (~geometry).any()
        for part in (text, geometry):
            assert (np.diff(part.astype(int)) >= 0).all(), "padding comes last"
