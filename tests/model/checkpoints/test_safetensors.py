"""Files that are damaged, or made to do harm: an error that names the file, and nothing read beyond what is there."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.model.checkpoints.conftest import refused

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
NAME = "detector.transformer.decoder.norm.weight"


def made(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (made({NAME: ONE}, bytes(3)), "damaged safetensors file"),
        (made({NAME: ONE}, bytes(5)), "damaged safetensors file"),
        (made({NAME: ONE}), "damaged safetensors file"),
        (made({NAME: ONE}, bytes(4))[:20], "is cut short"),
        (made(TWICE, bytes(4)), "has two tensors named a"),
        (made({"a": ONE, "b": ONE}, bytes(4)), "damaged safetensors file"),
        (made({NAME: ONE}, bytes(4), length=10**9), "says that its header has 1000000000 bytes"),
        (made({NAME: ONE}, bytes(4), length=2**55), "says that its header has"),
        (made(b'{"a":' * 100_000, bytes(4)), "damaged safetensors file"),
        (made(b'{"a": \xff\xfe}', bytes(4)), "damaged safetensors file"),
        (made({NAME: {**ONE, "shape": [2**40, 2**40]}}, bytes(4)), "damaged safetensors file"),
        (made({NAME: {**ONE, "shape": [-1]}}, bytes(4)), "damaged safetensors file"),
        (made({NAME: {**ONE, "data_offsets": [4, 0]}}, bytes(4)), "damaged safetensors file"),
        (made({NAME: {**ONE, "data_offsets": [0, 2**62]}}, bytes(4)), "damaged safetensors file"),
        (made({NAME: {**ONE, "dtype": "PICKLE"}}, bytes(4)), "damaged safetensors file"),
        (made({"__metadata__": {"format": "pt"}}), "holds nothing at all"),
        (made({"a": pickle.dumps(print).hex()}, bytes(4)), "damaged safetensors file"),
        (made({"__metadata__": {"a": [1]}, NAME: ONE}, bytes(4)), "damaged safetensors file"),
    ],
)
def test_damaged_files(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert str(path) in refused(path, said)


def test_a_tensor_without_elements(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(made({NAME: {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}}))
    refused(path, "without the image encoder")


def test_many_names(tmp_path: Path) -> None:
    """More than a header may have: refused by its length, before anything is made of it."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write((1 << 25).to_bytes(8, "little") + b"{")
        file.truncate(1 << 26)
    refused(path, "says that its header has 33554432 bytes")


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\b", 5, None, ["x"]]
)
def test_an_index_that_points_elsewhere(name: Any, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "model.safetensors").write_bytes(made({NAME: ONE}, bytes(4)))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {NAME: name}}))
    refused(folder, "which is not a file beside it|is no index")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weight_map": 5}', '{"weight_map": {}}', "[" * 100_000])
def test_damaged_indexes(text: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    refused(index, "is no index|names no files")


def test_a_tensor_in_two_files(tmp_path: Path) -> None:
    for file in ("1.safetensors", "2.safetensors"):
        (tmp_path / file).write_bytes(made({NAME: ONE}, bytes(4)))
    index = tmp_path / "x.index.json"
    index.write_text(json.dumps({"weight_map": {NAME: "1.safetensors", "other": "2.safetensors"}}))
    assert NAME in refused(tmp_path, "has tensors twice")


def test_a_pickle_among_the_files_of_an_index(tmp_path: Path) -> None:
    (tmp_path / "1.safetensors").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "x.index.json").write_text(json.dumps({"weight_map": {NAME: "1.safetensors"}}))
    refused(tmp_path, "is a bare pickle")


def test_folders(tmp_path: Path) -> None:
    refused(tmp_path, "holds no checkpoint")
    for file in ("model.safetensors", "sam3.pt"):
        (tmp_path / file).write_bytes(made({NAME: ONE}, bytes(4)))
    message = refused(tmp_path, "holds several: model.safetensors, sam3.pt")
    assert "name one of these" in message
