"""What trainers leave: a detector beside an optimizer, a bare state dict, merged and unmerged adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sam3port.model.build import build_model
from sam3port.model.checkpoints.survey import survey
from sam3port.model.preset import preset
from tests.model.checkpoints.conftest import load, refused
from tests.model.checkpoints.test_huggingface import same_but_for_points
from tests.model.checkpoints.writing import Tensors, multiplex_tensors, upstream_tensors, write_safetensors, write_torch

HEAD = "segmentation_head."


@pytest.fixture(scope="module")
def tuned() -> Any:
    """A detector with weights of its own, as upstream's trainer builds it."""
    return build_model(preset("tiny"), seed=5, interactive=False)


@pytest.fixture(scope="module")
def bare(tuned: Any) -> Tensors:
    return {key.removeprefix("detector."): value for key, value in upstream_tensors(tuned).items()}


@pytest.fixture(scope="module")
def base(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_torch(tmp_path_factory.mktemp("base") / "sam3.pt", upstream_tensors(tiny))


def same(loaded: Any, model: Any) -> None:
    found, wanted = loaded.state_dict(), model.state_dict()
    assert not [name for name in wanted if not torch.equal(found[name], wanted[name])]


def trainers(model: Tensors) -> dict[str, Any]:
    """As upstream's trainer saves it (sam3/train/trainer.py:362)."""
    parameter = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {
        "model": model,
        "optimizer": optimizer.state_dict(),
        "epoch": 7,
        "loss": {"all": {}},
        "steps": {"train": 100, "val": 10},
        "time_elapsed": 12.5,
        "best_meter_values": {"coco": 0.5},
        "scaler": {"scale": 65536.0},
    }


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_what_trainers_save(prefix: str, bare: Tensors, tuned: Any, tmp_path: Path) -> None:
    content = {prefix + key: value for key, value in bare.items()}
    path = write_torch(tmp_path / "checkpoint.pt", trainers(content))
    assert survey(path).lacks == ("clicks",)
    same(load(path), tuned)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict"])
def test_bare_state_dicts(wrapper: str | None, bare: Tensors, tuned: Any, tmp_path: Path) -> None:
    same(load(write_torch(tmp_path / "x", {wrapper: bare} if wrapper else bare)), tuned)


def test_upstreams_names_in_safetensors(bare: Tensors, tuned: Any, tmp_path: Path) -> None:
    """Complex tables as they are, as pairs, as rows, or left out: whoever converts them does it in his own way."""
    ways = {
        "complex": lambda table: table,
        "pairs": torch.view_as_real,
        "rows": lambda table: torch.view_as_real(table).flatten(-2),
        "none": lambda _: None,
        "halves": lambda table: torch.view_as_real(table).half(),
    }
    for name, way in ways.items():
        content = {f"detector.{k}": way(v) if v.is_complex() else v for k, v in bare.items()}
        path = write_safetensors(tmp_path / name, {k: v for k, v in content.items() if v is not None})
        same(load(path), tuned)


def test_without_segmentation_head(bare: Tensors, tuned: Any, tiny: Any, base: Path, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "x", trainers({k: v for k, v in bare.items() if not k.startswith(HEAD)}))
    assert "--base" in refused(path, "without the segmentation head")
    found = survey(path, base)
    assert set(found.from_base) == {"the segmentation head", "clicks", "the memory of earlier frames"}
    loaded, own, theirs = load(path, base).state_dict(), tuned.state_dict(), tiny.state_dict()
    for name, value in loaded.items():
        from_base = name.startswith((HEAD, "inst_interactive_predictor.")) or "sam2_convs" in name
        assert torch.equal(value, (theirs if from_base else own)[name]), name


def test_a_base_gives_whole_parts_only(bare: Tensors, base: Path, tmp_path: Path) -> None:
    """One tensor that is gone is damage, and another training's must not take its place without a word."""
    path = write_torch(tmp_path / "x", {k: v for k, v in bare.items() if k != "transformer.decoder.norm.bias"})
    refused(path, "1 missing from the file: detector.transformer.decoder.norm.bias", base)


def test_points_from_a_base(huggingface_file: Path, base: Path, tiny: Any) -> None:
    found = survey(huggingface_file, base)
    assert (found.lacks, found.from_base) == ((), ("points as examples",))
    loaded, own = load(huggingface_file, base).state_dict(), tiny.state_dict()
    assert [name for name in own if not torch.equal(own[name], loaded[name])] == [
        "backbone.vision_backbone.trunk.pos_embed"
    ]


def test_huggingfaces_file_as_base(bare: Tensors, huggingface_file: Path, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "x", bare)
    assert survey(path, huggingface_file).lacks == ()
    assert load(path, huggingface_file).inst_interactive_predictor is not None


def test_clicks_of_sam_31_keep_their_scores(three_levels: Any, tmp_path: Path) -> None:
    """A detector that was tuned from SAM 3.1's has three levels and its clicks no sigmoid."""
    whole = multiplex_tensors(three_levels)
    detector = {
        key.removeprefix("detector."): value
        for key, value in whole.items()
        if key.startswith("detector.") and "interactive" not in key and "propagation" not in key
    }
    path, base = write_torch(tmp_path / "tuned", detector), write_torch(tmp_path / "base", whole)
    assert survey(path).traits.fourth_level is False
    traits = survey(path, base).traits
    assert (traits.clicks, traits.iou_sigmoid, traits.fourth_level) == (True, False, False)
    assert load(path, base).inst_interactive_predictor is not None


def test_adapters_are_told_what_they_are(bare: Tensors, tmp_path: Path) -> None:
    alone = {"base_model.model.transformer.decoder.layers.0.linear1.lora_A.weight": torch.zeros(4, 64)}
    assert "merge" in refused(write_torch(tmp_path / "adapter", alone), "holds LoRA adapters alone, not a model")
    beside = {**bare, "transformer.decoder.layers.0.linear1.lora_B.default.weight": torch.zeros(128, 4)}
    assert "merge" in refused(write_torch(tmp_path / "beside", beside), "holds LoRA adapters beside the weights")


def test_merged_adapters(bare: Tensors, tmp_path: Path) -> None:
    name = "transformer.decoder.layers.0.linear1.weight"
    merged = {**bare, name: bare[name] + torch.randn(128, 4) @ torch.randn(4, 64) / 100}
    loaded = load(write_safetensors(tmp_path / "x", merged)).state_dict()
    assert torch.equal(loaded[name], merged[name])


def test_detector_and_bare_names_do_not_mix(bare: Tensors, tmp_path: Path) -> None:
    mixed = {f"detector.{key}": value for key, value in bare.items()} | {"transformer.encoder.more": torch.zeros(1)}
    refused(write_torch(tmp_path / "x", mixed), "1 unknown to the model: transformer.encoder.more")


def test_the_same_model_from_every_kind(huggingface_file: Path, tiny: Any, base: Path) -> None:
    same(load(base), tiny)
    same_but_for_points(load(huggingface_file), tiny)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["image_encoder.trunk.patch_embed.proj.weight", "sam_mask_decoder.iou_token.weight"], "it is SAM 2"),
        (["image_encoder.patch_embed.proj.weight", "mask_decoder.iou_token.weight"], "it is SAM, the first one"),
        (["detr_decoder.query_embed.weight", "text_encoder.layers.0.fc1.weight"], "perhaps SAM3-LiteText's"),
        (["vision_model.embeddings.class_embedding"], "none of its 1 names is one of SAM 3's"),
        (["prompt_encoder.point_embed.weight", "mask_decoder.iou_token.weight"], "a tracker alone"),
    ],
)
def test_other_models_are_named(names: list[str], said: str, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", {name: torch.zeros(1) for name in names})
    assert said in refused(path, "is of another model")
