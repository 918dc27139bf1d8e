"""What the instructions for pairs of bfloat16 do, in arithmetic that every CPU has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sam3port.kernels.cpu import dot
from sam3port.kernels.cpu.vector_unit import VectorUnit
from tests.kernels.running import UNIT

WIDENED: VectorUnit = replace(UNIT, dtype="bfloat16", dot="")
"""bfloat16 on a CPU without an instruction for it: what this machine's CPU runs, whatever it is."""
PAIRED: VectorUnit = replace(UNIT, dtype="bfloat16", dot=UNIT.dot or dot.AVX512_BF16)
"""With such an instruction, which needs `stand_in` where the CPU has none."""


def put_in(patched: pytest.MonkeyPatch) -> None:
    """Where the CPU lacks the instruction, it is done in two multiply-adds, so that all around it runs on any CPU."""
    if not UNIT.dot:
        patched.setattr(dot, "in_llvm", in_llvm)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`put_in` for one test."""
    put_in(monkeypatch)


def in_llvm(_feature: str, lanes: int) -> str:
    floats, words = (f"<{lanes} x {element}>" for element in ("float", "i32"))

    def every(value: int) -> str:
        return f"<{', '.join([f'i32 {value}'] * lanes)}>"

    return f"""
declare {floats} @llvm.fma.v{lanes}f32({floats}, {floats}, {floats})
define linkonce_odr hidden {floats} @{dot.name(lanes)}({floats} %sums, {words} %a, {words} %b) alwaysinline {{
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
