"""``python -m sam3port.targets.try_kernel``: compiles a product for this machine's CPU and runs it.

A process of its own: what the CPU cannot run ends it. It prints ``right`` when the numbers are.
"""

from __future__ import annotations

import numpy as np


def main() -> None:
    """Prints one line; an instruction that is not there is the end of the process."""
    import tvm

    from sam3port.kernels.cpu.formats.cpu import cpu_of
    from sam3port.kernels.cpu.formats.float32 import FLOAT32
    from sam3port.kernels.cpu.formats.format import Arithmetic
    from sam3port.kernels.cpu.products.gemm import linear_func, pack_weight
    from sam3port.targets.host import host_target

    target = host_target()
    arithmetic = Arithmetic(cpu_of(target), FLOAT32)
    random = np.random.default_rng(0)
    x, weight = (random.standard_normal(shape, dtype=np.float32) for shape in ((13, 40), (35, 40)))
    function = linear_func(13, 35, 40, arithmetic).with_attr("global_symbol", "kernel")
    kernel = tvm.compile(tvm.IRModule({"kernel": function}), target=target)["kernel"]
    out = tvm.runtime.empty((13, 35), "float32")
    kernel(*map(tvm.runtime.tensor, (x, pack_weight(weight, arithmetic))), out)
    print("right" if np.allclose(out.numpy(), x @ weight.T, rtol=1e-4, atol=1e-4) else "wrong")


if __name__ == "__main__":
    main()
