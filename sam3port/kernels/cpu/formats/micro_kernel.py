"""Micro-kernels: what one step of a register tile does with the operands in its registers.

Instructions that multiply groups of small numbers are called through functions in LLVM's own text: TVM's passes would
rewrite a type such as bfloat16 under an intrinsic.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Value

AVX512_BF16: Final = "avx512bf16"
NEON_BF16: Final = "bf16"
AVX512_VNNI: Final = "avx512vnni"
AVX_VNNI: Final = "avxvnni"
NEON_DOTPROD: Final = "dotprod"


@dataclass(frozen=True, slots=True)
class MicroKernel:
    """``sums[l] += a[l] * b[l]`` in all lanes l of a register, where a and b are groups of numbers along K."""

    group: int = 1
    """Steps along K in one group; a group fills one lane."""
    operand: str = "float32"
    """TVM's type of one group in a register, as in the cache."""
    sums: str = "float32"
    """TVM's type of an accumulator."""

    def multiply_add(self, sums: Value, a: Value, b: Value, lanes: int) -> Value:
        """The vector of new sums; `a` and `b` are vectors of so many groups."""
        return sums + a * b

    def imported(self, lanes: int) -> contextlib.AbstractContextManager[None]:
        """Within it, `multiply_add` can be emitted for vectors of so many lanes."""
        return contextlib.nullcontext()

    def __str__(self) -> str:
        """What is to be said of it beside the sizes of a tile; nothing of a plain multiply-add."""
        return ""


MULTIPLY_ADD: Final = MicroKernel()
"""One float32 in each lane; LLVM makes a fused multiply-add of it where the CPU has one."""


@dataclass(frozen=True, slots=True)
class DotProduct(MicroKernel):
    """An instruction that multiplies groups number by number and adds all products to the lane's accumulator."""

    feature: str = ""
    """LLVM's name of the feature that the CPU needs."""
    kind: str = ""
    """What the numbers are, in the name of the function in LLVM."""
    element: str = ""
    """LLVM's type of one number."""
    numbers: str = ""
    """A group, in words for people."""

    def multiply_add(self, sums: Value, a: Value, b: Value, lanes: int) -> Value:
        return tirx.call_extern(emit.vector_type(lanes, self.sums), self.function(lanes), sums, a, b)

    def imported(self, lanes: int) -> contextlib.AbstractContextManager[None]:
        return emit.llvm_imported(in_llvm(self, lanes))

    def function(self, lanes: int) -> str:
        """The name of the function in LLVM that `multiply_add` calls."""
        return f"sam3port_dot_{self.kind}_{lanes}"

    def __str__(self) -> str:
        return f", {self.numbers} by {self.feature}"


INTRINSICS: Final[Mapping[str, Callable[[int], str]]] = {
    AVX512_BF16: lambda lanes: f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}",
    NEON_BF16: lambda lanes: f"llvm.aarch64.neon.bfdot.v{lanes}f32.v{2 * lanes}bf16",
    AVX512_VNNI: lambda lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}",
    AVX_VNNI: lambda lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}",
    NEON_DOTPROD: lambda lanes: f"llvm.aarch64.neon.sdot.v{lanes}i32.v{4 * lanes}i8",
}
"""By LLVM's name of the target's feature: for a number of lanes LLVM's name of the instruction."""


def dot_of_bytes(feature: str) -> DotProduct:
    """Four bytes at a time, summed in int32. On x86 those of the first operand are unsigned."""
    return DotProduct(4, "uint32", "int32", feature, "bytes", "i8", "fours of bytes")


def in_llvm(kernel: DotProduct, lanes: int) -> str:
    """LLVM's text of the function that ``kernel.multiply_add`` calls."""
    sums = f"<{lanes} x {'float' if kernel.sums == 'float32' else 'i32'}>"
    words, numbers = f"<{lanes} x i32>", f"<{kernel.group * lanes} x {kernel.element}>"
    intrinsic = INTRINSICS[kernel.feature](lanes)
    return f"""
declare {sums} @{intrinsic}({sums}, {numbers}, {numbers})
define linkonce_odr hidden {sums} @{kernel.function(lanes)}({sums} %sums, {words} %a, {words} %b) alwaysinline {{
  %x = bitcast {words} %a to {numbers}
  %y = bitcast {words} %b to {numbers}
  %result = call {sums} @{intrinsic}({sums} %sums, {numbers} %x, {numbers} %y)
  ret {sums} %result
}}
"""
