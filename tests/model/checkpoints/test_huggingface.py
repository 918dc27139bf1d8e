"""Hugging Face's files: every tensor in its place, nothing invented, and the published file's size to the byte."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sam3port.model.build import skeleton
from sam3port.model.checkpoints.names_huggingface import HUGGINGFACE
from sam3port.model.checkpoints.parts import POINTS, in_checkpoint
from sam3port.model.checkpoints.survey import survey
from sam3port.model.preset import FULL, Traits, preset
from tests.model.checkpoints.conftest import load, refused
from tests.model.checkpoints.writing import (
    FIRST_TABLE,
    SECOND_TABLE,
    Tensors,
    detector_tensors,
    write_safetensors,
)

POSITIONS = "backbone.vision_backbone.trunk.pos_embed"
SOME = "detector_model.detr_decoder.output_layer_norm.weight"


def points(name: str) -> bool:
    return in_checkpoint(name).startswith(POINTS.prefixes)


def same_but_for_points(loaded: Any, model: Any) -> None:
    """Bit for bit, but for what the file has no place for: the row of the class token, and points."""
    found, wanted = loaded.state_dict(), model.state_dict()
    assert set(found) <= set(wanted)
    differ = {name for name in found if not torch.equal(found[name], wanted[name])}
    assert differ == {POSITIONS, *filter(points, found)}
    assert torch.equal(found[POSITIONS][:, 1:], wanted[POSITIONS][:, 1:])
    assert not found[POSITIONS][:, 0].any()
    assert all(found[name].isnan().all() for name in filter(points, found)), "neither seeded nor zero"


def test_round_trip(huggingface_file: Path, tiny: Any) -> None:
    found = survey(huggingface_file)
    assert found.traits == Traits(points=False)
    assert (found.lacks, found.preset, found.dtype) == (("points",), "tiny", "float32")
    loaded = load(huggingface_file)
    same_but_for_points(loaded, tiny)
    assert len(loaded.state_dict()) == 623


def test_the_published_file_to_the_byte() -> None:
    """Names, shapes and types give the size that is published: 3,439,938,512 bytes, 249,064 of them the header."""
    shapes: dict[str, tuple[int, ...]] = {}
    wanted = skeleton(FULL).state_dict()
    assert len(wanted) == 1465, "as in sam3.pt"
    for name, tensor in wanted.items():
        if recipe := HUGGINGFACE.recipe(in_checkpoint(name)):
            shapes |= zip(recipe.names, recipe.shapes(tuple(tensor.shape)), strict=True)
    shapes = {name: shape for name, shape in shapes.items() if ".points_" not in name}
    shapes[SECOND_TABLE] = shapes[FIRST_TABLE]
    assert len(shapes) == 1797
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + 4 * math.prod(shapes[name])
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    length += -length % 8
    assert (length, 8 + length + end) == (249064, 3439938512)


def test_doubled_prefixes(huggingfaces: Tensors, tiny: Any, tmp_path: Path) -> None:
    """transformers 5.24 doubles them when it saves a model of several."""
    doubled = {f"tracker_model.{k}" if k.startswith("tracker_model.") else k: v for k, v in huggingfaces.items()}
    same_but_for_points(load(write_safetensors(tmp_path / "model.safetensors", doubled)), tiny)
    nested = {f"tracker_model.{name}": value for name, value in huggingfaces.items()}
    same_but_for_points(load(write_safetensors(tmp_path / "model.safetensors", nested)), tiny)


def test_a_tensor_under_both_prefixes_is_refused(huggingfaces: Tensors, tmp_path: Path) -> None:
    twice = {**huggingfaces, f"tracker_model.{FIRST_TABLE}": huggingfaces[FIRST_TABLE]}
    assert FIRST_TABLE in refused(write_safetensors(tmp_path / "x", twice), "1 of them: ")


def test_a_folder(huggingface_file: Path, tiny: Any) -> None:
    same_but_for_points(load(huggingface_file.parent), tiny)


def test_several_files_with_an_index(huggingfaces: Tensors, tiny: Any, tmp_path: Path) -> None:
    names = sorted(huggingfaces)
    halves = {"model-1.safetensors": names[:300], "model-2.safetensors": names[300:]}
    for file, own in halves.items():
        write_safetensors(tmp_path / file, {name: huggingfaces[name] for name in own})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, own in halves.items() for name in own}}))
    same_but_for_points(load(tmp_path), tiny)
    same_but_for_points(load(index), tiny)
    (tmp_path / "model-2.safetensors").unlink()
    assert "model-2.safetensors" in refused(tmp_path, "names files that are not there")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype, huggingfaces: Tensors, tmp_path: Path) -> None:
    halves = {name: value.to(dtype) for name, value in huggingfaces.items()}
    path = write_safetensors(tmp_path / "model.safetensors", halves)
    assert survey(path).dtype == str(dtype).removeprefix("torch.")
    loaded = load(path).state_dict()
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert torch.equal(loaded["transformer.decoder.norm.weight"], halves[SOME].float())


def test_the_detector_alone(tiny: Any, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "model.safetensors", detector_tensors(tiny))
    assert survey(path).lacks == ("points", "clicks")
    loaded = load(path)
    assert loaded.inst_interactive_predictor is None
    same_but_for_points(loaded, tiny)


def test_another_resolution(huggingface_file: Path) -> None:
    from sam3port.model.build import build_model

    traits = survey(huggingface_file).traits
    loaded = build_model(preset("tiny", 168, traits), checkpoint=huggingface_file)
    same_but_for_points(loaded, build_model(preset("tiny", 168), seed=0))


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (SOME, SOME),
        ("detector_model.vision_encoder.backbone.layers.1.attention.k_proj.weight", "k_proj.weight"),
        ("tracker_model.mask_decoder.iou_prediction_head.layers.0.bias", "iou_prediction_head.layers.0.bias"),
        ("tracker_model.memory_encoder.projection.bias", "memory_encoder.projection.bias"),
    ],
)
def test_what_is_missing_is_named_as_in_the_file(lost: str, said: str, huggingfaces: Tensors, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", {k: v for k, v in huggingfaces.items() if k != lost})
    message = refused(path, "1 missing from the file: ")
    assert said in message
    assert "unknown to the model" not in message


@pytest.mark.parametrize("more", ["detector_model.more", "tracker_model.more.weight", "lm_head.weight"])
def test_what_is_left_over_is_refused(more: str, huggingfaces: Tensors, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", {**huggingfaces, more: torch.zeros(1)})
    refused(path, f"1 unknown to the model: {more}")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(dtype: torch.dtype, huggingfaces: Tensors, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", {**huggingfaces, SOME: huggingfaces[SOME].to(dtype)})
    refused(path, f"{SOME} is stored as ")


def test_part_of_a_matrix_is_wrongly_shaped(huggingfaces: Tensors, tmp_path: Path) -> None:
    name = "detector_model.detr_encoder.layers.0.self_attn.k_proj.weight"
    path = write_safetensors(tmp_path / "x", {**huggingfaces, name: torch.zeros(32, 64)})
    refused(path, rf"1 wrongly shaped: {name} is \(32, 64\), not \(64, 64\)")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named(value: float, huggingfaces: Tensors, tmp_path: Path) -> None:
    broken = huggingfaces[SOME].clone()
    broken[3] = value
    message = refused(write_safetensors(tmp_path / "x", {**huggingfaces, SOME: broken}), "no finite numbers")
    assert f"1 such tensors: {SOME}" in message


def test_another_preset(huggingface_file: Path) -> None:
    import dataclasses

    from sam3port.model.checkpoints.errors import CheckpointError
    from sam3port.model.checkpoints.survey import check

    found = dataclasses.replace(survey(huggingface_file), preset="full")
    with pytest.raises(CheckpointError, match="has the sizes of the preset full, not of tiny") as error:
        check(found, huggingface_file, "tiny")
    assert error.value.remedy == "give --preset full"
