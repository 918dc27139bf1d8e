"""Tensors of every dtype that weights have, from mapped files."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tvm

from sam3port.artifact import weights as parameters
from sam3port.runtime.tensors import ALIGNMENT, borrowed, copied

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int8, np.uint8, np.bool_]


def values(dtype: type, count: int) -> np.ndarray:
    return (np.arange(count) % 2 if dtype is np.bool_ else np.arange(count) % 100).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [borrowed, copied])
def test_dtype_shape_and_values_stay(dtype: type, make: object, tmp_path: Path) -> None:
    array = values(dtype, 192).reshape(2, 3, 32)
    parameters.write(tmp_path / "p", {"0": array})
    mapped = parameters.read(tmp_path / "p", copy_on_write=True)["0"]
    assert mapped.ctypes.data % ALIGNMENT == 0
    tensor = make(mapped, tvm.cpu())  # type: ignore[operator]
    assert str(tensor.dtype) == np.dtype(dtype).name
    assert tuple(tensor.shape) == (2, 3, 32)
    np.testing.assert_array_equal(tensor.numpy().astype(np.float64), array.astype(np.float64))
    tensor.copyfrom(np.zeros_like(array))
    assert mapped.astype(np.bool_).any() == (make is copied), "only a borrowed tensor is the array's own memory"


def test_memory_that_is_not_aligned_is_copied(tmp_path: Path) -> None:
    parameters.write(tmp_path / "p", {"0": values(np.float32, 3), "1": values(np.float32, 5), "2": np.float32([[7]])})
    for name, array in parameters.read(tmp_path / "p", copy_on_write=True).items():
        tensor = borrowed(array, tvm.cpu())
        np.testing.assert_array_equal(tensor.numpy(), array, err_msg=name)


def test_the_file_stays_as_it_is_and_the_memory_lives_as_long_as_the_tensor(tmp_path: Path) -> None:
    file = tmp_path / "p"
    parameters.write(file, {"0": values(np.float32, 1024)})
    before = file.read_bytes()
    tensor = borrowed(parameters.read(file, copy_on_write=True)["0"], tvm.cpu())
    tensor.copyfrom(np.zeros(1024, np.float32))
    assert not tensor.numpy().any()
    assert file.read_bytes() == before
