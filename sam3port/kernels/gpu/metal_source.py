"""What generated Metal source takes of the device."""

from __future__ import annotations

import re
from typing import Final

from sam3port.kernels.gpu.launch import KernelError

_KERNEL: Final = re.compile(r"^kernel void (\w+)\(", re.MULTILINE)
_SHARED: Final = re.compile(r"\bthreadgroup (\w+?)(\d*) \w+\[(\d+)\];")
_BYTES: Final = {
    **dict.fromkeys(("bool", "char", "uchar"), 1),
    **dict.fromkeys(("half", "bfloat", "short", "ushort"), 2),
    **dict.fromkeys(("float", "int", "uint"), 4),
    **dict.fromkeys(("long", "ulong"), 8),
}
_LANES: Final = {"": 1, "2": 2, "3": 4, "4": 4}
"""Metal gives a vector of three the place of one of four."""


def shared_memory(source: str) -> dict[str, int]:
    """Bytes of threadgroup memory by kernel.

    Raises:
        KernelError: a kernel declares it of a type that is not known here.
    """
    starts = [(found.group(1), found.start()) for found in _KERNEL.finditer(source)]
    ends = [start for _, start in starts[1:]] + [len(source)]
    return {
        name: sum(_bytes(name, *declared) for declared in _SHARED.findall(source[start:end]))
        for (name, start), end in zip(starts, ends, strict=True)
    }


def _bytes(kernel: str, scalar: str, lanes: str, count: str) -> int:
    try:
        return _BYTES[scalar] * _LANES[lanes] * int(count)
    except KeyError:
        raise KernelError(f"the kernel {kernel} shares memory of the unknown type {scalar}{lanes}") from None


def check_shared_memory(source: str, most: int) -> None:
    """Raises KernelError when a kernel of ``source`` declares more than ``most`` bytes of threadgroup memory."""
    for name, used in shared_memory(source).items():
        if used > most:
            raise KernelError(f"the kernel {name} takes {used} bytes of threadgroup memory, the device has {most}")
