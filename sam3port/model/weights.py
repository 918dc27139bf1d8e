"""Weights from a seed: no trained weights, but activations and attention in the range that trained ones have."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.model.scales import Scale, scale_of

if TYPE_CHECKING:
    from torch import Tensor, nn

MEANINGLESS: Final = (
    "The weights come from a seed, not from training: masks, boxes and scores mean nothing. "
    "They show that the port computes what upstream computes. For real results give a checkpoint."
)
"""What every command that runs a seeded model tells its user."""

_BLOCK: Final = 1 << 18
"""Elements drawn at a time: what is between the bits and the weights then stays in the CPU's cache (with 16 MiB it took
three times as long), and the largest tensor needs little memory on top of itself. Even, since bits come in pairs."""


def seed_weights(model: nn.Module, seed: int) -> None:
    """Overwrites every parameter and every random buffer of ``model``.

    Each tensor has its own stream, keyed by the seed and the tensor's name. Values are integers of a bit generator
    (whose streams NumPy guarantees) times a power of two, scaled in float32: the same bytes on every machine, with any
    number of threads, in whatever order and together with whatever other tensors they are drawn.

    Args:
        model: upstream's image model, on the CPU, float32.
        seed: any integer >= 0.
    """
    import torch

    with torch.no_grad():
        kept = model.state_dict(keep_vars=True)
        for path, module in model.named_modules():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for parameter, tensor in own:
                name = f"{path}.{parameter}" if path else parameter
                scale = scale_of(module, path, parameter) if name in kept else None
                if scale is not None:
                    _fill(tensor.data, scale, seed, name)


def weights_digest(model: nn.Module) -> str:
    """sha256, in hexadecimal, over names, shapes, dtypes and bytes of the state dict in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]


def _fill(tensor: Tensor, scale: Scale, seed: int, name: str) -> None:
    weights = tensor.numpy()
    # A float64 model (the yardstick of a proof) gets the same float32 values.
    values = weights if weights.dtype == np.float32 else np.empty(weights.shape, np.float32)
    bits = _stream(seed, name)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        part[:] = _uniform(bits, part.size)
    scale.apply(values, lambda count: _uniform(_stream(seed, f"{name}/shared"), count))
    if values is not weights:
        weights[...] = values


def _stream(seed: int, name: str) -> np.random.SFC64:
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.SFC64(np.random.SeedSequence(int.from_bytes(key, "little")))


def _uniform(bits: np.random.SFC64, count: int) -> NDArray[np.float32]:
    """Numbers of mean 0 and variance 1: uniform in [-sqrt(3), sqrt(3)), exact multiples of a power of two before."""
    raw = np.asarray(bits.random_raw((count + 1) // 2), dtype="<u8").view("<i4")[:count]
    unit = (raw >> 7).astype(np.float32) * np.float32(2.0**-24)
    return unit * np.float32(math.sqrt(3.0))
