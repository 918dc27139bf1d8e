"""What kind of file a path leads to, found by looking into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sam3port.model.checkpoints.content import Content
from sam3port.model.checkpoints.errors import GET, CheckpointError
from sam3port.model.checkpoints.safetensors_file import files_of_index, is_safetensors, open_safetensors
from sam3port.model.checkpoints.torch_file import MAGIC, open_torch

_HEAD: Final = 512
_INDEX: Final = ".index.json"
_SUFFIXES: Final = (_INDEX, ".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""Of the files in a folder that may be the checkpoint. What they are is looked at, not believed."""


def open_content(path: Path) -> Content:
    """The tensors of the checkpoint at ``path``.

    Args:
        path: a file, an index of several, or a folder with one of them.

    Raises:
        CheckpointError: there is none, or it is of another kind or damaged.
    """
    files = files_of(path)
    heads = [_head(file) for file in files]
    if all(is_safetensors(head) for head in heads):
        return open_safetensors(path, files)
    if len(files) == 1 and heads[0].startswith(MAGIC):
        return open_torch(files[0])
    odd = next(index for index, head in enumerate(heads) if not is_safetensors(head))
    raise CheckpointError(f"{files[odd]} {_what_else(files[odd], heads[odd])}", GET)


def files_of(path: Path) -> list[Path]:
    """The files that the checkpoint at ``path`` consists of. Their tensors are not looked at.

    Raises:
        CheckpointError: as `open_content`.
    """
    if path.is_dir():
        path = _in_folder(path)
    if path.name.endswith(_INDEX) or (_head(path).lstrip().startswith(b"{") and _is_index(path)):
        return files_of_index(path)
    return [path]


def _in_folder(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if file.name.endswith(_SUFFIXES) and file.is_file())
    if indexes := [file for file in found if file.name.endswith(_INDEX)]:
        parts = {part for index in indexes for part in files_of_index(index)}
        found = [file for file in found if file not in parts]
    if not found:
        raise CheckpointError(f"the folder {folder} holds no checkpoint", f"name a file. {GET}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise CheckpointError(f"the folder {folder} holds several: {names}", "name one of these files")
    return found[0]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}", GET) from None
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}", GET) from error


def _is_index(path: Path) -> bool:
    return b'"weight_map"' in path.read_bytes()[: 1 << 24]


def _what_else(path: Path, head: bytes) -> str:
    """Says what a file is that holds no tensors; torch's own messages would be about pickles."""
    text = head.lstrip().lower()
    if not head:
        return "is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page: probably one that asks to log in"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer: the file itself was not fetched (`git lfs pull`)"
    if text.startswith(b"{"):
        return "is JSON" + _json_message(path)
    if head.startswith(b"\x80"):
        return "is a bare pickle: loading it could run code, so it was not loaded"
    if head.startswith(b"GGUF"):
        return "is in GGUF, the format of llama.cpp and its like: sam3port needs the weights that it was made from"
    if head[:2] == b"\x08" or b"onnx" in text[:64] or b"pytorch" in text[:64]:
        return "is an ONNX model: a program, not its weights"
    return "is neither a file of torch.save nor in the safetensors format"


def _json_message(path: Path) -> str:
    try:
        message = json.loads(path.read_bytes()[: 1 << 16]).get("error")
    except (ValueError, AttributeError):
        return ""
    return f" that says {message!r}" if isinstance(message, str) else ""
