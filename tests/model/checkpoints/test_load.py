"""Checkpoints in upstream's format, written here from the tiny model; and files that are none."""

from __future__ import annotations

import functools
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sam3port.errors import UsageError
from sam3port.model.build import build_model, construct
from sam3port.model.checkpoints.errors import CheckpointError
from sam3port.model.checkpoints.load import load_checkpoint
from sam3port.model.checkpoints.parts import MEMORY
from sam3port.model.preset import preset
from sam3port.model.weights import seed_weights, weights_digest
from tests.conftest import RunPython
from tests.model.checkpoints.writing import upstream_tensors

TINY = preset("tiny")
NECK = "detector.backbone.vision_backbone.sam2_convs."
SOME = "detector.transformer.decoder.norm.weight"


@pytest.fixture(scope="session")
def tensors(tiny: Any) -> dict[str, Tensor]:
    saved = upstream_tensors(tiny)
    assert sum(value.is_complex() for value in saved.values()) == TINY.vit_depth
    assert all(any(key.startswith(start) for key in saved) for start in (NECK, "tracker.", "detector.geometry"))
    return saved


@pytest.fixture(scope="session")
def written(tensors: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "sam3.pt"
    torch.save(tensors, path)
    return path


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "sam3.pt"
        torch.save(content, path)
        return path

    return write


@functools.cache
def _victim() -> tuple[Any, str]:
    """A model that no file may change, and its digest."""
    model = build_model(TINY, seed=9)
    return model, weights_digest(model)


def _refused(path: Path, match: str) -> str:
    """The whole message of the error. The model must be as before, and the error one that exits with status 2."""
    model, before = _victim()
    with pytest.raises(CheckpointError, match=match) as error:
        load_checkpoint(model, path)
    assert isinstance(error.value, UsageError)
    assert error.value.remedy
    assert weights_digest(model) == before
    return str(error.value)


def test_round_trip(written: Path, tiny: Any) -> None:
    loaded = build_model(TINY, checkpoint=written)
    assert weights_digest(loaded) == weights_digest(tiny)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_nested_in_model(tensors: dict[str, Tensor], save: Callable[[Any], Path], tiny: Any) -> None:
    assert weights_digest(build_model(TINY, checkpoint=save({"model": tensors}))) == weights_digest(tiny)


def test_same_as_upstreams_own_loader(written: Path) -> None:
    from sam3.model_builder import _load_checkpoint

    theirs = construct(TINY)
    seed_weights(theirs, 4)
    _load_checkpoint(theirs, str(written))
    assert weights_digest(build_model(TINY, checkpoint=written)) == weights_digest(theirs)


def test_the_model_does_not_depend_on_the_file(tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    path = save(tensors)
    model = build_model(TINY, checkpoint=path)
    before = weights_digest(model)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert weights_digest(model) == before


def test_without_interactivity(written: Path) -> None:
    seeded = build_model(TINY, seed=0, interactive=False)
    loaded = build_model(TINY, checkpoint=written, interactive=False)
    assert weights_digest(loaded) == weights_digest(seeded)


def test_other_resolution(written: Path) -> None:
    other = preset("tiny", 168)
    loaded = build_model(other, checkpoint=written)
    assert weights_digest(loaded) == weights_digest(build_model(other, seed=0))


def test_half_precision_weights(tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    halves = {key: v.bfloat16() if v.is_floating_point() else v for key, v in tensors.items()}
    loaded = build_model(TINY, checkpoint=save(halves)).state_dict()
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    name = SOME.removeprefix("detector.")
    assert torch.equal(loaded[name], tensors[SOME].bfloat16().float())


def test_complex_model(written: Path, upstream_python: RunPython) -> None:
    """The reference of every proof keeps upstream's complex buffers."""
    result = upstream_python(
        f"""
        import torch
        from pathlib import Path
        from sam3port.model.build import build_model
        from sam3port.model.preset import preset
        path = Path({str(written)!r})
        model = build_model(preset("tiny"), checkpoint=path)
        saved = torch.load(path, weights_only=True)
        tables = {{n: v for n, v in model.state_dict().items() if v.is_complex()}}
        print(len(tables), all(torch.equal(v, saved["detector." + n]) for n, v in tables.items()))
        """,
        disable=["float_rope"],
    )
    assert result.stdout.split() == [str(TINY.vit_depth), "True"], result.stderr


def test_missing_key(tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    message = _refused(save({k: v for k, v in tensors.items() if k != SOME}), "1 missing from the file: ")
    assert SOME in message
    assert "unknown to the model" not in message


def test_many_missing_keys_are_counted(tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    lost = {k for k in tensors if k.startswith("tracker.") and not k.startswith(MEMORY.prefixes)}
    kept = {k: v for k, v in tensors.items() if k not in lost}
    message = _refused(save(kept), f"{len(tensors) - len(kept)} missing from the file")
    assert f"and {len(tensors) - len(kept) - 10} more" in message
    assert message.count("tracker.") == 10


@pytest.mark.parametrize("key", ["detector.more", "tracker.more", "optimizer.step", "transformer.decoder.norm.weight"])
def test_unexpected_key(key: str, tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    assert f"1 unknown to the model: {key}" in _refused(save({**tensors, key: torch.zeros(1)}), "unknown")


def test_wrong_shape(tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    message = _refused(save({**tensors, SOME: torch.zeros(63)}), "1 wrongly shaped")
    assert f"{SOME} is (63,), not (64,)" in message


def test_wrong_rotary_table(tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    key = next(key for key, value in tensors.items() if value.is_complex())
    for wrong in (tensors[key][:15], tensors[key][:, :4], tensors[key][0]):
        assert key in _refused(save({**tensors, key: wrong.clone()}), "1 wrongly shaped")


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_wrong_dtype(dtype: torch.dtype, tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    message = _refused(save({**tensors, SOME: torch.zeros(64, dtype=dtype)}), "1 wrongly shaped")
    assert SOME in message


def test_another_preset(written: Path) -> None:
    import dataclasses

    wider = construct(dataclasses.replace(TINY, ffn_dim=256, decoder_layers=4))
    with pytest.raises(CheckpointError, match="missing from the file") as error:
        load_checkpoint(wider, written)
    assert "wrongly shaped" in str(error.value)
    assert "detector.transformer.decoder.layers.3." in str(error.value)


def test_another_model(save: Callable[[Any], Path]) -> None:
    message = _refused(save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}), "of another model")
    assert "conv1.weight" in message


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [torch.zeros(2)], {"model": 5}, {1: torch.zeros(1)}, {"detector.a": 1}]
)
def test_no_state_dict(content: Any, save: Callable[[Any], Path]) -> None:
    _refused(save(content), "no state dict")


def test_empty_state_dict(save: Callable[[Any], Path]) -> None:
    _refused(save({}), "of another model.*nothing at all")


class _Attack:
    """What a pickle can do when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_pickle_with_code_is_not_run(tmp_path: Path, tensors: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    ran = tmp_path / "ran"
    path = save({**tensors, "detector.extra": _Attack(ran)})
    torch.load(path, weights_only=False)
    assert ran.exists(), "the attack must work where nothing stops it"
    ran.unlink()
    message = _refused(path, "could run code")
    assert "system" in message
    assert "weights_only=False" not in message, "must not advise to switch the protection off"
    assert not ran.exists()


def test_bare_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "sam3.pt"
    path.write_bytes(pickle.dumps(_Attack(ran)))
    _refused(path, "bare pickle")
    assert not ran.exists()


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_truncated(kept: float, written: Path, tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    data = written.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    _refused(path, "cut short")


def test_damaged_index(written: Path, tmp_path: Path) -> None:
    """The archive's end is there, what it says is not."""
    path = tmp_path / "sam3.pt"
    data = bytearray(written.read_bytes())
    start = data.index(b"data.pkl") + 64
    data[start : start + 4096] = bytes(4096)
    path.write_bytes(data)
    _refused(path, "damaged|could run code")


def test_other_archive(tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    _refused(path, "damaged|not a file")


def _safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "web page"),
        (b"\n  <html lang='en'>", "web page"),
        (b'{"error": "Access to model facebook/sam3 is restricted"}', "JSON that says 'Access to model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS pointer"),
        (b"", "is empty"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (bytes(range(7)), "neither a file of torch.save"),
        (_safetensors(), "of another model"),
    ],
    ids=["html", "html-indented", "json", "lfs", "empty", "gguf", "short", "safetensors"],
)
def test_other_files(data: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    path.write_bytes(data)
    message = _refused(path, match)
    assert str(path) in message


def test_no_file(tmp_path: Path) -> None:
    _refused(tmp_path / "absent.pt", "there is no checkpoint")
    _refused(tmp_path, "holds no checkpoint")
