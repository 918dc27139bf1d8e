"""What the machine can do at most: multiply-adds in registers, in float32 and bfloat16, and reading from memory.

Kernels of our own, in TVM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_ROUNDS: Final = 10_000_000
_VECTORS: Final = 12
"""Sums at a time: two units times the four to five cycles that one multiply-add takes; 16 registers hold them."""
_FLOATS: Final = 64 << 20
"""256 MiB, which no cache holds."""
FLOAT32: Final = "float32"
BFLOAT16: Final = "bfloat16"
READ: Final = "read"


@dataclass(frozen=True, slots=True)
class LimitKernel:
    """One measurement."""

    run: Callable[[], Any]
    amount: int
    """Operations (float32, bfloat16) or bytes (read) of a run."""


def limit_kernels(threads: int) -> dict[str, LimitKernel]:
    """The measurements by name, `FLOAT32` and `READ`, each on that many threads.

    `BFLOAT16` is among them where the CPU has an instruction that multiplies it: elsewhere it is computed in float32.
    """
    import tvm

    from sam3port.kernels.cpu.vector_unit import vector_unit
    from sam3port.machine.cpus import configure_threads
    from sam3port.machine.host import host_target

    configure_threads(threads)
    target = host_target(threads)
    unit = vector_unit(target)
    lanes = unit.lanes

    def compiled(function: Any) -> Any:
        module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
        return tvm.compile(module, target=target)["kernel"]

    multiply, read = compiled(_multiply_add(threads, lanes)), compiled(_read(threads, lanes))
    seeds = tvm.runtime.tensor(np.full((2, lanes), 0.5, dtype=np.float32))
    sums = tvm.runtime.empty((threads, _VECTORS * lanes), "float32")
    numbers = tvm.runtime.tensor(np.ones(_FLOATS, dtype=np.float32))
    totals = tvm.runtime.empty((threads, _VECTORS * lanes), "float32")
    floats = _FLOATS // (threads * _VECTORS * lanes) * threads * _VECTORS * lanes
    kernels = {
        FLOAT32: LimitKernel(lambda: multiply(seeds, sums), 2 * threads * _ROUNDS * _VECTORS * lanes),
        READ: LimitKernel(lambda: read(numbers, totals), 4 * floats),
    }
    if unit.dot:
        pairs = compiled(multiply_add_pairs(threads, lanes, unit.dot))
        words = tvm.runtime.tensor(np.full((2, lanes), 0x3F003F00, dtype=np.uint32))  # 0.5 twice
        kernels[BFLOAT16] = LimitKernel(lambda: pairs(words, sums), 4 * threads * _ROUNDS * _VECTORS * lanes)
    return kernels


def _multiply_add(threads: int, lanes: int) -> Any:
    """``sum = sum * a + b`` in as many registers as it takes to keep the units busy."""
    from sam3port.kernels.cpu import emit

    def body(seeds: Any, out: Any) -> None:
        with emit.parallel(threads) as thread:
            sums = [emit.scratch((lanes,)) for _ in range(_VECTORS)]
            factor, term = (emit.bind(emit.load(seeds, [row, 0], lanes)) for row in (0, 1))
            for each in sums:
                emit.store(each, emit.constant(1.0, lanes), [0], lanes)
            with emit.serial(_ROUNDS):
                for each in sums:
                    emit.store(each, emit.load(each, [0], lanes) * factor + term, [0], lanes)
            for index, each in enumerate(sums):
                emit.store(out, emit.load(each, [0], lanes), [thread, index * lanes], lanes)

    return emit.primfunc([("seeds", (2, lanes)), ("out", (threads, _VECTORS * lanes))], body)


def multiply_add_pairs(threads: int, lanes: int, instruction: str) -> Any:
    """``sum += a.low * b.low + a.high * b.high``, likewise, by that instruction of `sam3port.kernels.cpu.dot`."""
    from sam3port.kernels.cpu import dot, emit

    def body(words: Any, out: Any) -> None:
        with emit.parallel(threads) as thread:
            sums = [emit.scratch((lanes,)) for _ in range(_VECTORS)]
            left, right = (emit.bind(emit.load(words, [row, 0], lanes)) for row in (0, 1))
            for each in sums:
                emit.store(each, emit.constant(1.0, lanes), [0], lanes)
            with dot.imported(instruction, lanes), emit.serial(_ROUNDS):
                for each in sums:
                    value = dot.multiply_add(emit.load(each, [0], lanes), left, right, lanes)
                    emit.store(each, value, [0], lanes)
            for index, each in enumerate(sums):
                emit.store(out, emit.load(each, [0], lanes), [thread, index * lanes], lanes)

    return emit.primfunc([("words", (2, lanes), "uint32"), ("out", (threads, _VECTORS * lanes))], body)


def _read(threads: int, lanes: int) -> Any:
    """Adds up a large array, each thread its own part."""
    from sam3port.kernels.cpu import emit

    step = _VECTORS * lanes
    steps = _FLOATS // (threads * step)

    def body(numbers: Any, out: Any) -> None:
        with emit.parallel(threads) as thread:
            sums = [emit.scratch((lanes,)) for _ in range(_VECTORS)]
            for each in sums:
                emit.store(each, emit.constant(0.0, lanes), [0], lanes)
            with emit.serial(steps) as index:
                for vector, each in enumerate(sums):
                    at = (thread * steps + index) * step + vector * lanes
                    emit.store(each, emit.load(each, [0], lanes) + emit.load(numbers, [at], lanes), [0], lanes)
            for vector, each in enumerate(sums):
                emit.store(out, emit.load(each, [0], lanes), [thread, vector * lanes], lanes)

    return emit.primfunc([("numbers", (_FLOATS,)), ("out", (threads, step))], body)
