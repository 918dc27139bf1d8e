"""Who takes part, and what each needs."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from sam3port.errors import UsageError
from sam3port.machine.packages import remedy
from sam3port.verify.precision import PRECISIONS

EXTRA: Final = remedy("bench")


class Contestant(StrEnum):
    """Who computes."""

    TVM = "tvm"
    """The port: what ``sam3port build`` makes."""
    TORCH = "torch"
    """Upstream as it is, eager, with the portability patches only."""
    INDUCTOR = "inductor"
    """``torch.compile`` of the exported program (real RoPE: inductor leaves complex numbers alone), weights frozen."""
    ONNXRUNTIME = "onnxruntime"
    """ONNX Runtime on the exported program as ``torch.onnx.export`` writes it."""
    OPENVINO = "openvino"
    """OpenVINO on the same ONNX model."""


MODULES: Final = {
    Contestant.TVM: "sam3port.bench.run_tvm",
    Contestant.TORCH: "sam3port.bench.run_torch",
    Contestant.INDUCTOR: "sam3port.bench.run_torch",
    Contestant.ONNXRUNTIME: "sam3port.bench.run_onnxruntime",
    Contestant.OPENVINO: "sam3port.bench.run_openvino",
}
"""What each one's process executes."""

PEERS: Final = tuple(contestant for contestant in Contestant if contestant is not Contestant.TVM)
OF_ONNX: Final = frozenset({Contestant.ONNXRUNTIME, Contestant.OPENVINO})
"""Those that read an ONNX model."""
WHOLE: Final = frozenset({Contestant.TVM, Contestant.TORCH})
"""Those that can answer prompts about photographs: the others have no program around the model."""

_PACKAGES: Final = {
    Contestant.ONNXRUNTIME: ("onnx", "onnxscript", "onnxruntime"),
    Contestant.OPENVINO: ("onnx", "onnxscript", "openvino"),
}


def cannot(contestant: Contestant, dtype: str) -> str | None:
    """Why it cannot compute in that type, None if it can as far as is known before it is opened."""
    return PRECISIONS[dtype].cannot.get(contestant)


def missing_packages(contestant: Contestant) -> list[str]:
    """Packages that it needs and that are not installed."""
    return [name for name in _PACKAGES.get(contestant, ()) if find_spec(name) is None]


def asked(names: Sequence[str]) -> list[Contestant]:
    """The contestants of these names.

    Raises:
        UsageError: there is none of that name, it is the port itself, or its packages are not installed.
    """
    chosen = []
    for name in dict.fromkeys(names):
        if name not in PEERS:
            raise UsageError(f"there is no peer named {name}", f"the peers are {', '.join(PEERS)}")
        contestant = Contestant(name)
        if missing := missing_packages(contestant):
            raise UsageError(f"{name} needs {', '.join(missing)}", EXTRA)
        chosen.append(contestant)
    return chosen
