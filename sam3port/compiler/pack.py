"""Pack: the weights as the kernels want them, made once while building."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact import weights as parameters
from sam3port.compiler.optimise import TRANSFORM, alone, parameter_names

if TYPE_CHECKING:
    import torch

    from sam3port.targets.target import BuildTarget


def pack_parameters(module: Any, target: BuildTarget, weights: dict[str, torch.Tensor], file: Path) -> None:
    """Runs `TRANSFORM` on this machine and writes its results: ``0``, ``1``, ... in the order ``main`` takes them.

    Args:
        module: from `sam3port.compiler.optimise.optimise`.
        target: what `module` was optimised for. Its weights are prepared on the host.
        weights: by name, as exported; emptied, so that at most two copies are in memory.
        file: is overwritten, in the safetensors format.
    """
    import tvm
    from tvm import relax

    executable = tvm.compile(alone(module, TRANSFORM), target=target.host())
    machine = relax.VirtualMachine(executable, tvm.cpu())
    wanted = parameter_names(module)
    for name in set(weights) - set(wanted):
        del weights[name]
    raw = [_tensor(weights.pop(name).detach().numpy()) for name in wanted]
    packed = machine[TRANSFORM](raw)
    del raw
    parameters.write(file, {str(index): tensor.numpy() for index, tensor in enumerate(packed)})


def _tensor(array: NDArray[np.generic]) -> Any:
    import tvm

    return tvm.runtime.tensor(np.asarray(array, order="C"))
