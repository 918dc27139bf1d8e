"""Arrays as TVM's tensors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALIGNMENT: Final = 64
"""Bytes: what TVM's kernels were told about the address of a tensor."""


def copied(array: NDArray[Any], device: Any) -> Any:
    """A tensor of its own on ``device``."""
    import tvm

    return tvm.runtime.tensor(np.asarray(array, order="C"), device)


def borrowed(array: NDArray[Any], device: Any) -> Any:
    """A tensor on the CPU in the array's own memory, where that lies as TVM wants it; else a copy.

    Args:
        array: writable, contiguous (DLPack refuses read-only memory); it lives as long as the tensor.
        device: the CPU.
    """
    import tvm

    if array.ctypes.data % ALIGNMENT or not array.size:
        return copied(array, device)
    plain = array.view(f"u{array.itemsize}")  # numpy hands bfloat16 to nobody
    return tvm.runtime.from_dlpack(plain)._create_view(array.shape, str(array.dtype))
