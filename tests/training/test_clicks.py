"""The third stage of training: batches of clicks, what the decoder begins with, what it may change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sam3port.demo.scenes import SIDE
from sam3port.errors import UsageError
from sam3port.model import demo_weights
from sam3port.model.build import build_model
from sam3port.model.preset import TINY
from sam3port.upstream.source import Upstream
from tests.training.conftest import log
from training.click_batches import corrected, make_click_batch
from training.click_path import PLACES, ClickPath
from training.click_run import begin_with, learned, train
from training.evaluate import most_wrong
from training.pack import pack
from training.recipe import CLICKS

SHIPPED = demo_weights.demo_weights("tiny")


def test_a_scenes_objects_are_clicked_in_turn() -> None:
    batch = make_click_batch(np.random.default_rng(3), 6, 4, TINY.mask_size, kind=(2, False))
    assert batch.image_of.tolist() == [image for image in range(6) for _ in range(4)]
    different = [len(np.unique(batch.masks[batch.image_of == image], axis=0)) for image in range(6)]
    assert max(different) > 1
    for (x, y), label, mask in zip(batch.points[:, 0], batch.labels[:, 0], batch.masks, strict=True):
        assert label == 1
        assert mask[int(y * 32 / SIDE), int(x * 32 / SIDE)] > 0


def test_a_batch_of_clicks_depends_on_its_numbers_alone() -> None:
    one, other = (make_click_batch(np.random.default_rng([1, 2]), 3, 4, 32) for _ in range(2))
    for name in ("images", "image_of", "points", "labels", "masks"):
        assert (getattr(one, name) == getattr(other, name)).all()


def test_a_correction_points_at_what_is_wrong() -> None:
    batch = make_click_batch(np.random.default_rng(3), 6, 4, TINY.mask_size, kind=(1, False))
    right = np.where(batch.masks >= 0.5, 1.0, -1.0).astype(np.float32)
    answers = right.copy()
    answers[:, :16] = 1  # the upper half is all object
    answers[0] = right[0]
    more = corrected(np.random.default_rng(4), batch, answers)
    assert more.points.shape == (24, 2, 2) and (more.points[:, :1] == batch.points).all()
    assert more.labels[0, 1] == -1
    for row in range(1, 24):
        x, y = (more.points[row, 1] * 32 / SIDE).astype(int)
        wrong = answers[row] != right[row]
        assert wrong[y, x] == wrong.any()
        assert more.labels[row, 1] == (int(right[row, y, x] > 0) if wrong.any() else -1)


def test_the_most_wrong_place() -> None:
    truth, mask = np.zeros((2, 20, 20), np.bool_)
    truth[2:12, 2:12] = True
    assert most_wrong(truth, truth)[1]
    assert most_wrong(truth, mask)[1]
    mask[2:12, 2:] = True
    (x, y), wanted = most_wrong(truth, mask)
    assert not wanted and 12 <= x < 20 and 2 <= y < 12


def test_the_decoder_begins_by_looking_where_the_click_is(upstream_source: Upstream) -> None:
    """The image's first attention to the prompt: a patch turns to clicks, the more the nearer."""
    assert upstream_source.pinned
    path = ClickPath(build_model(TINY, seed=0))
    path.begin(19, 0.5, 2.0, 0.3)
    attention = path.decoder.transformer.layers[0].cross_attn_image_to_token
    with torch.no_grad():
        places = path.encoder.get_dense_pe()[0].flatten(1).T
        middles = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy"), -1).view(-1, 2) * 14 + 7
        clicks = path.encoder.pe_layer.forward_with_coords(middles[:, None].float(), (SIDE, SIDE))[:, 0]
        assert torch.allclose(places, clicks, atol=1e-5)
        logits = attention.q_proj(places) @ attention.k_proj(clicks).T
    assert (logits.argmax(0) == torch.arange(64)).float().mean() > 0.9
    apart = torch.cdist(middles.float(), middles.float()) / 14
    near, far = logits[(apart > 0) & (apart < 2)].mean(), logits[apart > 4].mean()
    assert logits.diagonal().mean() > near > far


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As training has it; another test's process gets its threads back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_clicks_alone_change_and_an_interruption_changes_nothing(tmp_path: Path, upstream_source: Upstream) -> None:
    assert upstream_source.pinned and SHIPPED is not None
    whole, parts, file = tmp_path / "whole", tmp_path / "parts", tmp_path / "weights.safetensors"
    recipe = replace(CLICKS.shortened(4), seed=20)  # those that come along are of another
    for folder, stop in ((whole, None), (parts, 2), (parts, None)):
        begin_with(SHIPPED, folder)
        train(recipe, folder, stop)
    assert [step["step"] for step in log(whole, "clicks.jsonl")] == list(range(4))
    assert [("obeyed" in step) for step in log(whole, "clicks.jsonl")] == [False, False, False, True]
    expected, found = learned(whole), learned(parts)
    assert expected[1:] == found[1:]
    assert all(torch.equal(tensor, found[0][name]) for name, tensor in expected[0].items())
    pack(whole, file)
    before, after = load_file(SHIPPED), load_file(file)
    assert before.keys() == after.keys()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    own = {name for name, _ in ClickPath(build_model(TINY, seed=0)).parameters()} | {PLACES}
    assert changed <= own
    assert {PLACES, "backbone.vision_backbone.sam2_convs.0.conv_1x1.weight"} <= changed
    said, shipped = demo_weights.about(file), demo_weights.about(SHIPPED)
    assert said is not None and shipped is not None
    assert said["clicks step"] == "4 of 4" and said["commit"] == shipped["commit"]
    with pytest.raises(UsageError, match="of another recipe"):
        train(CLICKS.shortened(5), whole)
    with pytest.raises(UsageError, match="other weights"):
        begin_with(file, whole)
