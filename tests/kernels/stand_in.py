"""What the instructions for pairs of bfloat16 do, in arithmetic that every CPU has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sam3port.kernels.cpu.formats import bfloat16, micro_kernel
from sam3port.kernels.cpu.formats import bfloat16_bits as bits
from sam3port.kernels.cpu.formats.format import Arithmetic
from tests.kernels.running import CPU

HAS_PAIRS = bfloat16.pairs_on(CPU) is not None
PAIRING = CPU if HAS_PAIRS else replace(CPU, features=CPU.features | {micro_kernel.AVX512_BF16})
"""This machine's CPU with an instruction for pairs of bfloat16, which needs `stand_in` where it has none."""
PAIRS = bfloat16.pairs_on(PAIRING)
assert PAIRS is not None
PAIRED = Arithmetic(PAIRING, PAIRS)
WITHOUT_PAIRS = replace(CPU, features=CPU.features - {micro_kernel.AVX512_BF16, micro_kernel.NEON_BF16})
"""It without such an instruction."""
WIDENED = Arithmetic(WITHOUT_PAIRS, bfloat16.WIDENED)
"""bfloat16 without an instruction for it: what this machine's CPU runs, whatever it is."""


def put_in(patched: pytest.MonkeyPatch) -> None:
    """Where the CPU lacks the instruction, it is done in two multiply-adds, so that all around it runs on any CPU.

    Such a CPU may lack the rounding to pairs, too, and LLVM then calls a function of compiler-rt, which is not there.
    """
    if not HAS_PAIRS:
        patched.setattr(micro_kernel, "in_llvm", in_llvm)
        patched.setattr(bits, "_in_llvm", rounding_in_llvm)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`put_in` for one test."""
    put_in(monkeypatch)


def in_llvm(kernel: micro_kernel.DotProduct, lanes: int) -> str:
    floats, words = (f"<{lanes} x {element}>" for element in ("float", "i32"))

    def every(value: int) -> str:
        return f"<{', '.join([f'i32 {value}'] * lanes)}>"

    return f"""
declare {floats} @llvm.fma.v{lanes}f32({floats}, {floats}, {floats})
define linkonce_odr hidden {floats} @{kernel.function(lanes)}({floats} %sums, {words} %a, {words} %b) alwaysinline {{
  %a1 = and {words} %a, {every(-65536)}
  %b1 = and {words} %b, {every(-65536)}
  %a0 = shl {words} %a, {every(16)}
  %b0 = shl {words} %b, {every(16)}
  %x1 = bitcast {words} %a1 to {floats}
  %y1 = bitcast {words} %b1 to {floats}
  %x0 = bitcast {words} %a0 to {floats}
  %y0 = bitcast {words} %b0 to {floats}
  %odd = call {floats} @llvm.fma.v{lanes}f32({floats} %x1, {floats} %y1, {floats} %sums)
  %both = call {floats} @llvm.fma.v{lanes}f32({floats} %x0, {floats} %y0, {floats} %odd)
  ret {floats} %both
}}
"""


def rounding_in_llvm(lanes: int) -> str:
    """As `sam3port.kernels.cpu.formats.bfloat16_bits.rounded_bits`: to the nearest, ties to even; NaN stays NaN."""

    def vector(element: str, count: int = lanes) -> str:
        return f"<{count} x {element}>"

    def every(value: int, count: int = lanes) -> str:
        return f"<{', '.join([f'i32 {value}'] * count)}>"

    def rounded(count: int) -> str:
        words = vector("i32", count)
        return f"""
define linkonce_odr hidden {words} @{_rounded(lanes, count)}({vector("float", count)} %x) alwaysinline {{
  %bits = bitcast {vector("float", count)} %x to {words}
  %size = and {words} %bits, {every(0x7FFFFFFF, count)}
  %nan = icmp ugt {words} %size, {every(0x7F800000, count)}
  %quiet = or {words} %bits, {every(0x400000, count)}
  %shifted = lshr {words} %bits, {every(16, count)}
  %odd = and {words} %shifted, {every(1, count)}
  %below = add {words} %bits, {every(0x7FFF, count)}
  %nearest = add {words} %below, %odd
  %kept = select {vector("i1", count)} %nan, {words} %quiet, {words} %nearest
  %upper = lshr {words} %kept, {every(16, count)}
  ret {words} %upper
}}
"""

    header = f"define linkonce_odr hidden {vector('i32')}"
    return f"""{rounded(lanes)}{rounded(2 * lanes)}
{header} @{bits._along(lanes)}({vector("float", 2 * lanes)} %x) alwaysinline {{
  %upper = call {vector("i32", 2 * lanes)} @{_rounded(lanes, 2 * lanes)}({vector("float", 2 * lanes)} %x)
  %narrow = trunc {vector("i32", 2 * lanes)} %upper to {vector("i16", 2 * lanes)}
  %words = bitcast {vector("i16", 2 * lanes)} %narrow to {vector("i32")}
  ret {vector("i32")} %words
}}
{header} @{bits._beside(lanes)}({vector("float")} %low, {vector("float")} %high) alwaysinline {{
  %lower = call {vector("i32")} @{_rounded(lanes, lanes)}({vector("float")} %low)
  %upper = call {vector("i32")} @{_rounded(lanes, lanes)}({vector("float")} %high)
  %shifted = shl {vector("i32")} %upper, {every(16)}
  %words = or {vector("i32")} %lower, %shifted
  ret {vector("i32")} %words
}}
"""


def _rounded(lanes: int, count: int) -> str:
    return f"sam3port_stand_in_rounded_{count}_for_{lanes}"  # the texts of several widths stand side by side
