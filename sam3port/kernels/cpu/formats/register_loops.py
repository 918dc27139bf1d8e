"""Loops that do nothing but multiply and add in registers: what a core can do at most, in each type and width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Expr
from sam3port.kernels.cpu.formats import dot

SUMS: Final = 12
"""Registers of sums at a time: two units times the four to five cycles that one instruction takes; 16 registers hold
them, and the operands beside them."""

_BYTES: Final[dict[str, Callable[[int], str]]] = {
    "avx512vnni": lambda lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}",
    "avxvnni": lambda lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}",
    "dotprod": lambda lanes: f"llvm.aarch64.neon.sdot.v{lanes}i32.v{4 * lanes}i8",
}
"""By LLVM's name of the feature: LLVM's name of the instruction that adds four products of bytes to an int32."""


def multiply_add(threads: int, lanes: int, rounds: int) -> Any:
    """``sum = sum * a + b`` in float32: 2 operations for each lane of `SUMS` registers, ``rounds`` times.

    Args:
        threads: each does all of it.
        lanes: float32 elements of a register.
        rounds: of the loop.

    Returns:
        A function of ``seeds`` float32[2, lanes], a and b, and ``out`` float32[threads, SUMS * lanes], the sums.
    """

    def step(sums: Expr, factor: Expr, term: Expr) -> Expr:
        return sums * factor + term

    return _loop(threads, lanes, rounds, "float32", "float32", step, None)


def multiply_add_pairs(threads: int, lanes: int, rounds: int, feature: str) -> Any:
    """``sum += a.low * b.low + a.high * b.high`` in bfloat16: 4 operations for each lane, as `multiply_add`.

    Args:
        feature: of `sam3port.kernels.cpu.formats.dot`.
        threads, lanes, rounds: see `multiply_add`; lanes are those of the float32 sums.

    Returns:
        A function of ``seeds`` uint32[2, lanes], pairs of bfloat16, and ``out`` as in `multiply_add`.
    """

    def step(sums: Expr, a: Expr, b: Expr) -> Expr:
        return dot.multiply_add(sums, a, b, lanes)

    return _loop(threads, lanes, rounds, "uint32", "float32", step, dot.in_llvm(feature, lanes))


def multiply_add_bytes(threads: int, lanes: int, rounds: int, feature: str) -> Any:
    """``sum += a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3`` of bytes in int32: 8 operations for each lane.

    Args:
        feature: ``avx512vnni``, ``avxvnni`` (the first operand is unsigned) or ``dotprod``.
        threads, lanes, rounds: see `multiply_add`; lanes are those of the int32 sums.

    Returns:
        A function of ``seeds`` uint32[2, lanes], four bytes each, and ``out`` int32[threads, SUMS * lanes].
    """
    name = f"sam3port_dot_bytes_{lanes}"
    sums, words, quads = f"<{lanes} x i32>", f"<{lanes} x i32>", f"<{4 * lanes} x i8>"
    intrinsic = _BYTES[feature](lanes)
    text = f"""
declare {sums} @{intrinsic}({sums}, {quads}, {quads})
define linkonce_odr hidden {sums} @{name}({sums} %sums, {words} %a, {words} %b) alwaysinline {{
  %x = bitcast {words} %a to {quads}
  %y = bitcast {words} %b to {quads}
  %result = call {sums} @{intrinsic}({sums} %sums, {quads} %x, {quads} %y)
  ret {sums} %result
}}
"""

    def step(sums: Expr, a: Expr, b: Expr) -> Expr:
        return tirx.call_extern(emit.vector_type(lanes, "int32"), name, sums, a, b)

    return _loop(threads, lanes, rounds, "uint32", "int32", step, text)


def _loop(
    threads: int,
    lanes: int,
    rounds: int,
    operand: str,
    result: str,
    step: Callable[[Expr, Expr, Expr], Expr],
    llvm: str | None,
) -> Any:
    one = tirx.IntImm("int32", 1) if result == "int32" else tirx.FloatImm("float32", 1.0)

    def body(seeds: Any, out: Any) -> None:
        with emit.parallel(threads) as thread:
            sums = [emit.scratch((lanes,), result) for _ in range(SUMS)]
            left, right = (emit.bind(emit.load(seeds, [row, 0], lanes)) for row in (0, 1))
            for each in sums:
                emit.store(each, emit.broadcast(one, lanes), [0], lanes)

            def all_rounds() -> None:
                with emit.serial(rounds):
                    for each in sums:
                        emit.store(each, step(emit.load(each, [0], lanes), left, right), [0], lanes)

            if llvm is None:
                all_rounds()
            else:
                with emit.llvm_imported(llvm):
                    all_rounds()
            for index, each in enumerate(sums):
                emit.store(out, emit.load(each, [0], lanes), [thread, index * lanes], lanes)

    return emit.primfunc([("seeds", (2, lanes), operand), ("out", (threads, SUMS * lanes), result)], body)
