"""Compile: machine code for ``main``, and the weights as it wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam3port.errors import Sam3PortError
from sam3port.port import parameters
from sam3port.port.optimise import TRANSFORM, parameter_names

if TYPE_CHECKING:
    import torch

    from sam3port.targets.target import BuildTarget


def compile_library(module: Any, target: BuildTarget, file: Path) -> None:
    """Compiles ``main`` and all that it calls to the shared library ``file``."""
    import tvm

    executable = tvm.compile(_only(module, "main"), target=target.target())
    try:
        executable.export_library(str(file))
    except RuntimeError as error:
        raise Sam3PortError(
            f"the library cannot be linked: {str(error).strip().splitlines()[-1]}",
            "a C++ compiler has to be installed (g++ or clang++); `sam3port doctor` looks for it",
        ) from error


def pack_parameters(module: Any, target: BuildTarget, weights: dict[str, torch.Tensor], file: Path) -> None:
    """Runs `TRANSFORM` on this machine and writes its results: ``0``, ``1``, ... in the order ``main`` takes them.

    Args:
        module: from `sam3port.port.optimise.optimise`.
        target: what `module` was optimised for. Its weights are prepared on the host.
        weights: by name, as exported; emptied, so that at most two copies are in memory.
        file: is overwritten, in the safetensors format.
    """
    import tvm
    from tvm import relax

    executable = tvm.compile(_only(module, TRANSFORM), target=target.host())
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


def _only(module: Any, name: str) -> Any:
    """``module`` with the function ``name`` and what it needs; the other entry goes."""
    import tvm
    from tvm import relax

    kept = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs)
    for variable in kept.get_global_vars():
        if variable.name_hint in {"main", TRANSFORM} - {name}:
            del kept[variable]
    return relax.transform.DeadCodeElimination([name])(kept)
