"""Weights in files: what is read is what was written, by the reference implementation of the format too."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sam3port.artifact import weights as parameters
from sam3port.errors import Sam3PortError

DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool"])
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))),
    max_size=5,
)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(TENSORS)
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, tensors: dict) -> None:
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    parameters.write(file, tensors)
    read = parameters.read(file)
    assert list(read) == list(tensors)
    assert all(same(read[name], tensors[name]) for name in tensors)


def test_the_library_safetensors_reads_it(tmp_path: Path) -> None:
    tensors = {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "odd": np.ones(3, np.bool_),
        "scalar": np.array(5, np.int64),
    }
    parameters.write(tmp_path / "w", tensors)
    read = safetensors.numpy.load_file(tmp_path / "w")
    assert all(same(read[name], tensors[name]) for name in tensors)


def test_it_reads_what_the_library_wrote(tmp_path: Path) -> None:
    tensors = {"a": np.arange(4, dtype=np.float16), "b": np.zeros((2, 0), np.float32)}
    safetensors.numpy.save_file(tensors, tmp_path / "w", metadata={"who": "somebody"})
    read = parameters.read(tmp_path / "w")
    assert set(read) == set(tensors)
    assert all(same(read[name], tensors[name]) for name in tensors)


def test_bfloat16(tmp_path: Path) -> None:
    tensor = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    parameters.write(tmp_path / "w", {"t": tensor})
    assert same(parameters.read(tmp_path / "w")["t"], tensor)


def test_a_transposed_view_is_written_in_its_own_order(tmp_path: Path) -> None:
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T
    parameters.write(tmp_path / "w", {"t": view})
    assert np.array_equal(parameters.read(tmp_path / "w")["t"], view)


@pytest.mark.parametrize("kept", [0, 4, 40, 100])
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "w"
    parameters.write(file, {"t": np.zeros(100, np.float32)})
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(Sam3PortError, match="w"):
        parameters.read(file)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    parameters.write(tmp_path / "w", {"here": np.zeros(1, np.float32)})
    with pytest.raises(Sam3PortError, match="gone"):
        parameters.read(tmp_path / "w", ["here", "gone"])


def test_what_is_read_cannot_be_written_to(tmp_path: Path) -> None:
    parameters.write(tmp_path / "w", {"t": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="read-only"):
        parameters.read(tmp_path / "w")["t"][0] = 1


def test_what_can_be_aligned_is_aligned(tmp_path: Path) -> None:
    """Vector instructions on the mapped file want it; the names keep their order."""
    sizes = (3, 16, 1, 64, 7, 32)
    tensors = {str(index): np.full(size, index, np.float32) for index, size in enumerate(sizes)}
    parameters.write(tmp_path / "w", tensors)
    read = parameters.read(tmp_path / "w")
    assert list(read) == list(tensors)
    assert all(same(read[name], tensors[name]) for name in tensors)
    start = np.memmap(tmp_path / "w", np.uint8, "r").ctypes.data  # a page's begin
    offsets = {name: tensor.ctypes.data % 64 for name, tensor in read.items()}
    assert start % 64 == 0
    assert [name for name, offset in offsets.items() if offset == 0 and tensors[name].nbytes % 64 == 0] == list("135")
    assert same(safetensors.numpy.load_file(tmp_path / "w")["4"], tensors["4"])
