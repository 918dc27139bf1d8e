"""Loads a checkpoint in upstream's format (``sam3.pt``) into the image model: all of it or an error, and never code.

The file holds the video model: ``detector.*`` is the image model and ``tracker.*`` the tracker that the interactive
predictor uses, perhaps inside "model" (upstream's loader: sam3/model_builder.py:519-539, which reports missing keys by
printing them and ignores unexpected ones).
"""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

DETECTOR: Final = "detector."
TRACKER: Final = "tracker."
PREDICTOR: Final = "inst_interactive_predictor.model."
"""Where the tracker's parameters are in the image model."""
_FIRST: Final = 10

_GET: Final = "sam3.pt can be had at https://huggingface.co/facebook/sam3 after accepting the SAM License there"


class CheckpointError(UsageError):
    """The file is not a checkpoint of this model. Nothing of it was loaded."""


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Copies a checkpoint's tensors into ``model``; every parameter and buffer of the model comes from it.

    Keys that an image model without the interactive predictor has no place for (the tracker and its neck) are left out.
    Rotary tables are computed, not learned: those of another image size are left out too.

    Args:
        model: upstream's image model, with or without the float_rope patch.
        path: written by ``torch.save``.

    Raises:
        CheckpointError: no such file, of another kind, or keys are missing, unexpected or wrongly shaped; lists them.
    """
    tensors = _open(path)
    found = {_in_model(key): value for key, value in tensors.items()}
    wanted = model.state_dict()
    interactive = any(name.startswith(PREDICTOR) for name in wanted)
    if not interactive:
        found = {name: value for name, value in found.items() if not _interactive_only(name)}
    missing = [_in_checkpoint(name) for name in wanted if name not in found]
    unexpected = [_in_checkpoint(name) for name in found if name not in wanted]
    misfits = []
    for name in wanted.keys() & found.keys():
        if _another_resolution(name, found[name], wanted[name]):
            found[name] = wanted[name]
        elif misfit := _misfit(found[name], wanted[name]):
            misfits.append(f"{_in_checkpoint(name)} {misfit}")
    if missing or unexpected or misfits:
        parts = (
            _listed("missing from the file", missing),
            _listed("unknown to the model", unexpected),
            _listed("wrongly shaped", sorted(misfits)),
        )
        raise CheckpointError(
            f"{path} is not a checkpoint of this model ({len(wanted)} tensors)" + "".join(parts),
            "use the checkpoint of the chosen preset, as upstream publishes it",
        )
    model.load_state_dict(found, strict=True)


def _in_model(key: str) -> str:
    if key.startswith(TRACKER):
        return PREDICTOR + key.removeprefix(TRACKER)
    return key.removeprefix(DETECTOR) if key.startswith(DETECTOR) else f"?{key}"


def _in_checkpoint(name: str) -> str:
    if name.startswith("?"):
        return name[1:]
    return TRACKER + name.removeprefix(PREDICTOR) if name.startswith(PREDICTOR) else DETECTOR + name


def _interactive_only(name: str) -> bool:
    return name.startswith((PREDICTOR, "backbone.vision_backbone.sam2_convs."))


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    rest = f", and {len(names) - _FIRST} more" if len(names) > _FIRST else ""
    return f"\n  {len(names)} {what}: {', '.join(names[:_FIRST])}{rest}"


def _real_shape(tensor: Tensor) -> tuple[int, ...]:
    """A row of complex numbers counts as the floats it consists of."""
    shape = tuple(tensor.shape)
    return (*shape[:-1], shape[-1] * 2) if tensor.is_complex() else shape


def _another_resolution(name: str, found: Tensor, wanted: Tensor) -> bool:
    if not name.endswith(".freqs_cis") or found.ndim != 2 or not (found.is_floating_point() or found.is_complex()):
        return False
    (rows, columns), (own_rows, own_columns) = _real_shape(found), _real_shape(wanted)
    return rows != own_rows and columns == own_columns and math.isqrt(rows) ** 2 == rows


def _misfit(found: Tensor, wanted: Tensor) -> str | None:
    if found.is_complex() and (wanted.is_complex() or _real_shape(found) == tuple(wanted.shape)):
        return None if _real_shape(found) == _real_shape(wanted) else _shapes(found, wanted)
    if found.shape != wanted.shape:
        return _shapes(found, wanted)
    if found.is_complex() != wanted.is_complex() or found.is_floating_point() != wanted.is_floating_point():
        return f"is {found.dtype}, not {wanted.dtype}"
    return None


def _shapes(found: Tensor, wanted: Tensor) -> str:
    return f"is {tuple(found.shape)}, not {tuple(wanted.shape)}"


def _open(path: Path) -> Mapping[str, Tensor]:
    """The file's tensors by name, mapped into memory. Nothing but tensors is unpickled."""
    import torch

    _recognise(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        # torch's message explains at length how to switch the protection off.
        raise CheckpointError(
            f"{path} holds more than tensors: loading it could run code, so it was not loaded ({_reason(error)})", _GET
        ) from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: {str(error).splitlines()[0]}", f"fetch it again. {_GET}") from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise CheckpointError(f"{path} holds no state dict (names with tensors)", _GET)
    if not any(key.startswith((DETECTOR, TRACKER)) for key in content):
        some = ", ".join(list(content)[:3]) or "nothing at all"
        raise CheckpointError(
            f"{path} is of another model: none of its {len(content)} keys starts with {DETECTOR} or {TRACKER} "
            f"(it has {some})",
            _GET,
        )
    return content


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines)[0].split(" was not an allowed")[0]


def _recognise(path: Path) -> None:
    """Says what a file is that ``torch.save`` did not write; torch's own messages would be about pickles."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}", _GET) from error
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path} is cut short: the end of the archive is missing", f"fetch it again. {_GET}")
        return
    text = head.lstrip().lower()
    if not head:
        what = "is empty"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        what = "is a web page: probably one that asks to log in"
    elif text.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer: the file itself was not fetched (`git lfs pull`)"
    elif text.startswith(b"{"):
        what = "is JSON" + _json_message(path)
    elif len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        what = "is in the safetensors format, not in upstream's"
    elif head.startswith(b"\x80"):
        what = "is a bare pickle: loading it could run code, so it was not loaded"
    else:
        what = "is not a file that torch.save writes"
    raise CheckpointError(f"{path} {what}", _GET)


def _json_message(path: Path) -> str:
    try:
        message = json.loads(path.read_bytes()[: 1 << 16]).get("error")
    except (ValueError, AttributeError):
        return ""
    return f" that says {message!r}" if isinstance(message, str) else ""
