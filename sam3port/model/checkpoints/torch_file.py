"""What ``torch.save`` writes. Nothing but tensors is unpickled."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sam3port.model.checkpoints.content import Content, Stored
from sam3port.model.checkpoints.errors import GET, CheckpointError

MAGIC: Final = b"PK\x03\x04"
_WRAPPERS: Final = ("model", "state_dict", "model_state_dict")
"""Where trainers put the weights, beside the state of the optimizer and the like."""


def open_torch(path: Path) -> Content:
    """The tensors of a file of ``torch.save``, mapped into memory.

    Raises:
        CheckpointError: the file is damaged, or holds something else than tensors by name, or code.
    """
    import torch

    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is cut short: the end of the archive is missing", f"fetch it again. {GET}")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        # torch's message explains at length how to switch the protection off.
        raise CheckpointError(
            f"{path} holds more than tensors: loading it could run code, so it was not loaded ({_reason(error)})",
            f"have its author save the state dict alone, or use another file. {GET}",
        ) from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: {str(error).splitlines()[0]}", f"fetch it again. {GET}") from error
    tensors = _weights(content)
    if tensors is None:
        raise CheckpointError(f"{path} holds no state dict (names with tensors)", GET)
    stored = {
        name: Stored(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in tensors.items()
    }
    return Content(path, stored, tensors.__getitem__)


def _weights(content: Any) -> Mapping[str, Any] | None:
    if not isinstance(content, dict):
        return None
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), dict):
            return _weights(content[wrapper])
    return content if _tensors_by_name(content) else None


def _tensors_by_name(content: Mapping[Any, Any]) -> bool:
    import torch

    return all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines)[0].split(" was not an allowed")[0]
