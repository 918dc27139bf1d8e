"""The weights that come with sam3port: of a small model that was trained on drawn scenes (``training/``).

They are a file like a checkpoint, and given to commands as one, but hold only what training has changed. The rest (rows
of the vocabulary that no text of the scenes uses, the tracker's memory) comes from seed 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.errors import Sam3PortError

if TYPE_CHECKING:
    from torch import Tensor, nn

KIND: Final = "sam3port demo weights"
"""The value of ``kind`` in the file's metadata, by which it is recognised."""
KNOWN: Final = "drawn circles, squares, triangles and stars: plain, striped or dotted, small or large, in five colours"
"""What they were shown."""
SEED: Final = 0
"""Of all that the file does not hold."""
ROWS: Final = ".rows"
"""``NAME.rows`` holds some rows of the tensor NAME, ``NAME.rows.at`` which."""
_FOLDER: Final = Path(__file__).parent / "data"


def demo_weights(preset: str) -> Path | None:
    """The file for this preset, None where sam3port brings none."""
    file = _FOLDER / f"{preset}.safetensors"
    return file if file.is_file() else None


def about(file: Path) -> dict[str, str] | None:
    """What the file says about itself, None where it holds other weights than these."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as content:
            metadata = content.metadata() or {}
    except (SafetensorError, OSError):
        return None
    return metadata if metadata.get("kind") == KIND else None


def load_demo_weights(model: nn.Module, file: Path) -> None:
    """Fills the whole model.

    Args:
        model: upstream's image model of the file's preset, at any resolution.
        file: one that `about` recognises.

    Raises:
        Sam3PortError: the file is damaged, or is of another model.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from sam3port.model.weights import seed_weights

    try:
        trained = load_file(file)
    except (SafetensorError, OSError) as error:
        raise Sam3PortError(f"{file} cannot be read: {error}", "install sam3port again") from error
    seed_weights(model, SEED)
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in trained.items():
            if name.endswith(f"{ROWS}.at"):
                continue
            whole = name.removesuffix(ROWS)
            target = _fitting(own, whole, tensor, file, rows=name != whole)
            if name == whole:
                target.copy_(tensor)
            else:
                target[trained[f"{name}.at"]] = tensor.to(target.dtype)


def _fitting(own: dict[str, Any], name: str, tensor: Tensor, file: Path, *, rows: bool) -> Tensor:
    target: Tensor | None = own.get(name)
    if target is None or (target.shape[1:] if rows else target.shape) != (tensor.shape[1:] if rows else tensor.shape):
        raise Sam3PortError(f"{file} is not of this model: {name} does not fit", "give the preset it was trained with")
    return target
