"""What the machine can do at most: multiply-adds in registers, in float32 and bfloat16, and reading from memory.

Kernels of our own, in TVM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sam3port.verify import precision

_ROUNDS: Final = 10_000_000
_FLOATS: Final = 64 << 20
"""256 MiB, which no cache holds."""
FLOAT32: Final = precision.FLOAT32.name
BFLOAT16: Final = precision.BFLOAT16.name
READ: Final = "read"


@dataclass(frozen=True, slots=True)
class LimitKernel:
    """One measurement."""

    run: Callable[[], Any]
    amount: int
    """Operations (float32, bfloat16) or bytes (read) of a run."""


def limit_kernels(threads: int, target: Any = None) -> dict[str, LimitKernel]:
    """The measurements by name, `FLOAT32` and `READ`, each on that many threads, in registers as wide as the kernels'.

    `BFLOAT16` is among them where the CPU has an instruction that multiplies it: elsewhere it is computed in float32.

    Args:
        threads: that compute.
        target: a ``tvm.target.Target`` of a CPU; this machine's unless given.
    """
    import tvm

    from sam3port.kernels.cpu.formats.bfloat16 import pairs_on
    from sam3port.kernels.cpu.formats.cpu import cpu_of
    from sam3port.kernels.cpu.formats.register_loops import SUMS, multiply_add, multiply_add_pairs
    from sam3port.machine.cpus import configure_threads
    from sam3port.targets.host import host_target

    configure_threads(threads)
    target = host_target(threads) if target is None else target
    cpu = cpu_of(target)
    lanes = cpu.lanes

    def compiled(function: Any) -> Any:
        module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
        return tvm.compile(module, target=target)["kernel"]

    multiply, read = compiled(multiply_add(threads, lanes, _ROUNDS)), compiled(_read(threads, lanes))
    seeds = tvm.runtime.tensor(np.full((2, lanes), 0.5, dtype=np.float32))
    sums = tvm.runtime.empty((threads, SUMS * lanes), "float32")
    numbers = tvm.runtime.tensor(np.ones(_FLOATS, dtype=np.float32))
    totals = tvm.runtime.empty((threads, SUMS * lanes), "float32")
    floats = _FLOATS // (threads * SUMS * lanes) * threads * SUMS * lanes
    kernels = {
        FLOAT32: LimitKernel(lambda: multiply(seeds, sums), 2 * threads * _ROUNDS * SUMS * lanes),
        READ: LimitKernel(lambda: read(numbers, totals), 4 * floats),
    }
    if (paired := pairs_on(cpu)) is not None:
        pairs = compiled(multiply_add_pairs(threads, lanes, _ROUNDS, paired.dot.feature))
        words = tvm.runtime.tensor(np.full((2, lanes), 0x3F003F00, dtype=np.uint32))  # 0.5 twice
        kernels[BFLOAT16] = LimitKernel(lambda: pairs(words, sums), 4 * threads * _ROUNDS * SUMS * lanes)
    return kernels


def _read(threads: int, lanes: int) -> Any:
    """Adds up a large array, each thread its own part."""
    from sam3port.kernels.cpu.codegen import emit
    from sam3port.kernels.cpu.formats.register_loops import SUMS

    step = SUMS * lanes
    steps = _FLOATS // (threads * step)

    def body(numbers: Any, out: Any) -> None:
        with emit.parallel(threads) as thread:
            sums = [emit.scratch((lanes,)) for _ in range(SUMS)]
            for each in sums:
                emit.store(each, emit.constant(0.0, lanes), [0], lanes)
            with emit.serial(steps) as index:
                for vector, each in enumerate(sums):
                    at = (thread * steps + index) * step + vector * lanes
                    emit.store(each, emit.load(each, [0], lanes) + emit.load(numbers, [at], lanes), [0], lanes)
            for vector, each in enumerate(sums):
                emit.store(out, emit.load(each, [0], lanes), [thread, vector * lanes], lanes)

    return emit.primfunc([("numbers", (_FLOATS,)), ("out", (threads, step))], body)
