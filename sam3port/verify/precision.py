"""What it means to compute in a type: how far from upstream it may be, what that is measured by, who else can.

One record for each; proofs and contests ask it and never for a type by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Precision:
    """A type that components and artifacts are built in."""

    name: str
    """As ``--dtype`` and as manifests and reports write it."""
    max_ratio: float
    """The port's error against float64 may be at most this many times that of the yardstick."""
    autocast: bool
    """Whether the yardstick is upstream under PyTorch's autocast to this type; else it is upstream in float32."""
    yardstick: str
    """The yardstick's error, in the words of a plot's axis."""
    yardstick_in_text: str
    """The same, in the words of a report."""
    allowed: str
    """What an output may be off, in the words of a plot's axis."""
    allowed_in_text: str
    """What a report's column *of tolerance* is, in words."""
    openvino: str
    """OpenVINO's name of it, a value of ``INFERENCE_PRECISION_HINT``."""
    openvino_capability: str
    """What OpenVINO lists under ``OPTIMIZATION_CAPABILITIES`` where it computes in it; empty: it always does."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """By name of a peer of `sam3port.bench`, why it cannot compute in it."""

    def upstream(self) -> AbstractContextManager[Any]:
        """The mode in which PyTorch computes a model in float32 as nearly in this type as it does."""
        if not self.autocast:
            return contextlib.nullcontext()
        import torch

        return torch.autocast("cpu", getattr(torch, self.name))


FLOAT32: Final = Precision(
    name="float32",
    max_ratio=4.0,
    autocast=False,
    yardstick="PyTorch float32's own",
    yardstick_in_text="PyTorch float32's own",
    allowed="the tolerance",
    allowed_in_text="the error over what the component allows (up to 1 passes).",
    openvino="f32",
    openvino_capability="",
)

BFLOAT16: Final = Precision(
    name="bfloat16",
    max_ratio=1.5,
    autocast=True,
    yardstick="that of PyTorch's bfloat16 autocast",
    yardstick_in_text="that of upstream under PyTorch's bfloat16 autocast",
    allowed="autocast's own error",
    allowed_in_text="the error over autocast's own.",
    openvino="bf16",
    openvino_capability="BF16",
    cannot={
        "onnxruntime": "ONNX Runtime computes in float32 on CPUs: it has no kernels for bfloat16 there, but for a mode"
        " of ARM's"
    },
)

PRECISIONS: Final = {each.name: each for each in (FLOAT32, BFLOAT16)}
