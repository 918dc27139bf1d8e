"""Weights in a file: the safetensors format, written tensor by tensor and read by mapping the file.

The library safetensors would hold a second copy of everything while it writes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.errors import Sam3PortError

_NAMES: Final = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "bool": "BOOL",
}
_DTYPES: Final = {short: name for name, short in _NAMES.items()}
_LENGTH: Final = struct.Struct("<Q")
_ALIGNMENT: Final = 64
"""Bytes: what TVM aligns its own tensors to, and a line of the CPU's caches."""


def write(file: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Writes ``tensors``; their names keep their order.

    Their data does not: tensors whose size is a multiple of `_ALIGNMENT` come first, so that all of these lie at
    multiples of it in the mapped file (safetensors allows no gaps).

    Args:
        file: is overwritten.
        tensors: float, integer and bool arrays, also of ml_dtypes' bfloat16.
        metadata: texts that go with them, for `read_metadata`.
    """
    laid_out = sorted(tensors, key=lambda name: tensors[name].nbytes % _ALIGNMENT != 0)
    offsets: dict[str, list[int]] = {}
    offset = 0
    for name in laid_out:
        offsets[name] = [offset, offset := offset + tensors[name].nbytes]
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    header |= {
        name: {"dtype": _NAMES[tensor.dtype.name], "shape": list(tensor.shape), "data_offsets": offsets[name]}
        for name, tensor in tensors.items()
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + _LENGTH.size) % _ALIGNMENT)
    with file.open("wb") as stream:
        stream.write(_LENGTH.pack(len(text)))
        stream.write(text)
        for name in laid_out:
            stream.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)


def read(file: Path, names: Iterable[str] | None = None, copy_on_write: bool = False) -> dict[str, NDArray[Any]]:
    """The tensors of a file (or only ``names``), mapped: memory is used when they are looked at.

    Args:
        file: from `write`.
        names: all, in their order, unless given.
        copy_on_write: makes them writable, for who insists on it (DLPack); the file stays as it is. Else read-only.

    Raises:
        Sam3PortError: the file is cut off or is no safetensors file, or lacks one of ``names``.
    """
    header, start = _header(file)
    wanted = list(header) if names is None else list(names)
    if missing := [name for name in wanted if name not in header]:
        raise Sam3PortError(f"{file} has no tensor named {', '.join(missing)}", "build it again")
    size = file.stat().st_size
    data = np.memmap(file, np.uint8, "c" if copy_on_write else "r") if size > start else np.zeros(0, np.uint8)
    tensors = {}
    for name in wanted:
        entry = header[name]
        begin, end = entry["data_offsets"]
        if start + end > size:
            raise Sam3PortError(f"{file} is cut off: {size} bytes, {name} ends at {start + end}", "build it again")
        tensors[name] = data[start + begin : start + end].view(_dtype(entry["dtype"])).reshape(entry["shape"])
    return tensors


def read_metadata(file: Path) -> dict[str, str]:
    """The texts that go with a file's tensors; none if it has none.

    Raises:
        Sam3PortError: it is cut off or no safetensors file.
    """
    found = _whole_header(file)[0].get("__metadata__", {})
    return dict(found) if isinstance(found, dict) else {}


def _header(file: Path) -> tuple[dict[str, Any], int]:
    header, start = _whole_header(file)
    header.pop("__metadata__", None)
    return header, start


def _whole_header(file: Path) -> tuple[dict[str, Any], int]:
    try:
        with file.open("rb") as stream:
            (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
            if length > file.stat().st_size:
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise Sam3PortError(f"{file} cannot be read: {error}", "build it again") from None
    return header, _LENGTH.size + length


def _dtype(short: str) -> np.dtype[Any]:
    name = _DTYPES[short]
    if name == "bfloat16":
        import ml_dtypes  # type: ignore[import-not-found,import-untyped,unused-ignore]  # comes with tvm

        return np.dtype(ml_dtypes.bfloat16)  # type: ignore[no-any-return]
    return np.dtype(name)
