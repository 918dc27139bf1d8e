"""Files in the safetensors format: one, or several with an index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from sam3port.model.checkpoints.content import Content, Stored
from sam3port.model.checkpoints.errors import CheckpointError, listed

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH: Final = 8
"""Bytes ahead of the header, which say how long it is."""
_LONGEST_HEADER: Final = 1 << 24
"""Bytes. The full model's header has a quarter of a million; the library would take a hundred million."""
_LARGEST_INDEX: Final = 1 << 24
_AGAIN: Final = "fetch it again"
_DTYPES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64"}
"""Torch's names of the types that weights and tables are stored in."""


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins like this is meant to be in this format."""
    return len(head) > _LENGTH and head[_LENGTH : _LENGTH + 1] == b"{" and head[_LENGTH - 1] == 0


def open_safetensors(path: Path, files: Sequence[Path]) -> Content:
    """The tensors of ``files`` together.

    Args:
        path: as the user named it.
        files: at least one.

    Raises:
        CheckpointError: a file is damaged, or a name occurs twice.
    """
    from safetensors import SafetensorError, safe_open

    stored: dict[str, Stored] = {}
    handles: dict[str, Any] = {}
    for file in files:
        _check_header(file)
        try:
            handle: Any = safe_open(file, framework="pt")
            found = {name: _stored(handle.get_slice(name)) for name in handle.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            said = str(error).removeprefix("Error while deserializing header: ")
            raise CheckpointError(f"{file} is a damaged safetensors file: {said}", _AGAIN) from error
        if twice := sorted(found.keys() & stored.keys()):
            raise CheckpointError(f"{path} has tensors twice, in several files" + listed("of them", twice), _AGAIN)
        stored |= found
        handles |= dict.fromkeys(found, handle)

    def read(name: str) -> Tensor:
        try:
            tensor: Tensor = handles[name].get_tensor(name)
        except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError) as error:
            raise CheckpointError(f"{path}: {name} cannot be read: {str(error).splitlines()[0]}", _AGAIN) from error
        return tensor

    return Content(path, stored, read)


def _stored(tensor: Any) -> Stored:
    dtype = tensor.get_dtype()
    return Stored(tuple(tensor.get_shape()), _DTYPES.get(dtype, dtype.lower()))


def files_of_index(index: Path) -> list[Path]:
    """The files that ``*.safetensors.index.json`` names, each once, in the order of their names.

    Raises:
        CheckpointError: it is damaged, names files that are not there, or any that is not beside it.
    """
    if index.stat().st_size > _LARGEST_INDEX:
        raise CheckpointError(f"{index} is too large for an index of a checkpoint", _AGAIN)
    try:
        content = json.loads(index.read_bytes())
        named = sorted(set(content["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{index} is no index of safetensors files (it has no weight_map)", _AGAIN) from None
    for name in named:
        # A link beside the index may point anywhere: that is how Hugging Face's own cache is made.
        if not isinstance(name, str) or PurePath(name).name != name or "\\" in name or name in {"", ".", ".."}:
            raise CheckpointError(f"{index} names {name!r}, which is not a file beside it", "do not use it")
    if not named:
        raise CheckpointError(f"{index} names no files", _AGAIN)
    files = [index.parent / name for name in named]
    if absent := [file.name for file in files if not file.is_file()]:
        raise CheckpointError(
            f"{index} names files that are not there" + listed("of them", absent), "fetch those, into the same folder"
        )
    return files


def _check_header(file: Path) -> None:
    """What the library does not look at: a length that nobody needs, and names that occur twice."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH), "little")
            if length > _LONGEST_HEADER:
                raise CheckpointError(
                    f"{file} says that its header has {length} bytes: it is damaged, or no checkpoint", _AGAIN
                )
            header = stream.read(length)
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror}", _AGAIN) from error
    if len(header) < length:
        raise CheckpointError(f"{file} is cut short: its header is not all there", _AGAIN)
    try:
        json.loads(header, object_pairs_hook=_once)
    except _Twice as twice:
        raise CheckpointError(f"{file} has two tensors named {twice}", "it was made by a faulty program") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{file} is a damaged safetensors file: its header is no JSON", _AGAIN) from None


class _Twice(Exception):
    """The name that occurs twice."""


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found
