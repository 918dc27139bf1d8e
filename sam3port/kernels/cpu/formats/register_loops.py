"""Loops that do nothing but multiply and add in registers: what a core can do at most, in each type and width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Value
from sam3port.kernels.cpu.formats.bfloat16 import dot_of_bfloat16
from sam3port.kernels.cpu.formats.micro_kernel import MULTIPLY_ADD, MicroKernel, dot_of_bytes

SUMS: Final = 12
"""Registers of sums at a time: two units times the four to five cycles that one instruction takes; 16 registers hold
them, and the operands beside them."""


def multiply_add(threads: int, lanes: int, rounds: int) -> tirx.PrimFunc:
    """``sum = sum * a + b`` in float32: 2 operations for each lane of `SUMS` registers, ``rounds`` times.

    Args:
        threads: each does all of it.
        lanes: float32 elements of a register.
        rounds: of the loop.

    Returns:
        A function of ``seeds`` float32[2, lanes], a and b, and ``out`` float32[threads, SUMS * lanes], the sums.
    """

    def step(sums: Value, factor: Value, term: Value) -> Value:
        return sums * factor + term

    return _loop(threads, lanes, rounds, MULTIPLY_ADD, step)


def multiply_add_pairs(threads: int, lanes: int, rounds: int, feature: str) -> tirx.PrimFunc:
    """``sum += a.low * b.low + a.high * b.high`` in bfloat16: 4 operations for each lane, as `multiply_add`.

    Args:
        feature: of `formats.micro_kernel`.
        threads, lanes, rounds: see `multiply_add`; lanes are those of the float32 sums.

    Returns:
        A function of ``seeds`` uint32[2, lanes], pairs of bfloat16, and ``out`` as in `multiply_add`.
    """

    return _loop(threads, lanes, rounds, dot_of_bfloat16(feature))


def multiply_add_bytes(threads: int, lanes: int, rounds: int, feature: str) -> tirx.PrimFunc:
    """``sum += a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3`` of bytes in int32: 8 operations for each lane.

    Args:
        feature: ``avx512vnni``, ``avxvnni`` (the first operand is unsigned) or ``dotprod``.
        threads, lanes, rounds: see `multiply_add`; lanes are those of the int32 sums.

    Returns:
        A function of ``seeds`` uint32[2, lanes], four bytes each, and ``out`` int32[threads, SUMS * lanes].
    """
    return _loop(threads, lanes, rounds, dot_of_bytes(feature))


def _loop(
    threads: int,
    lanes: int,
    rounds: int,
    kernel: MicroKernel,
    step: Callable[[Value, Value, Value], Value] | None = None,
) -> tirx.PrimFunc:
    """``step(sums, a, b)`` again and again, or what `kernel` does."""

    def multiply_add(sums: Value, a: Value, b: Value) -> Value:
        return kernel.multiply_add(sums, a, b, lanes)

    one = tirx.IntImm(kernel.sums, 1) if kernel.sums == "int32" else tirx.FloatImm(kernel.sums, 1.0)

    def body(seeds: Buffer, out: Buffer) -> None:
        with emit.parallel(threads) as thread:
            sums = [emit.scratch((lanes,), kernel.sums) for _ in range(SUMS)]
            left, right = (emit.bind(emit.load(seeds, [row, 0], lanes)) for row in (0, 1))
            for each in sums:
                emit.store(each, emit.broadcast(one, lanes), [0], lanes)
            with kernel.imported(lanes), emit.serial(rounds):
                for each in sums:
                    value = (step or multiply_add)(emit.load(each, [0], lanes), left, right)
                    emit.store(each, value, [0], lanes)
            for index, each in enumerate(sums):
                emit.store(out, emit.load(each, [0], lanes), [thread, index * lanes], lanes)

    parameters = [("seeds", (2, lanes), kernel.operand), ("out", (threads, SUMS * lanes), kernel.sums)]
    return emit.primfunc(parameters, body)
