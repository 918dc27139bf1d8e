"""Instructions that multiply pairs of bfloat16 and add both products to a float32, in all lanes of a register.

They are called through functions in LLVM's own text: TVM's passes would rewrite the type bfloat16 under an intrinsic.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Expr

AVX512_BF16: Final = "avx512bf16"
NEON_BF16: Final = "bf16"

INTRINSICS: Final[dict[str, Callable[[int], str]]] = {
    AVX512_BF16: lambda lanes: f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}",
    NEON_BF16: lambda lanes: f"llvm.aarch64.neon.bfdot.v{lanes}f32.v{2 * lanes}bf16",
}
"""By LLVM's name of the target's feature: for a number of float32 lanes LLVM's name of the instruction."""


def in_llvm(feature: str, lanes: int) -> str:
    """LLVM's text of the function that `multiply_add` calls."""
    sums, words, pairs = f"<{lanes} x float>", f"<{lanes} x i32>", f"<{2 * lanes} x bfloat>"
    intrinsic = INTRINSICS[feature](lanes)
    return f"""
declare {sums} @{intrinsic}({sums}, {pairs}, {pairs})
define linkonce_odr hidden {sums} @{name(lanes)}({sums} %sums, {words} %a, {words} %b) alwaysinline {{
  %x = bitcast {words} %a to {pairs}
  %y = bitcast {words} %b to {pairs}
  %result = call {sums} @{intrinsic}({sums} %sums, {pairs} %x, {pairs} %y)
  ret {sums} %result
}}
"""


def imported(feature: str, lanes: int) -> contextlib.AbstractContextManager[None]:
    """Within it, `multiply_add` can be called."""
    return emit.llvm_imported(in_llvm(feature, lanes))


def multiply_add(sums: Expr, a: Expr, b: Expr, lanes: int) -> Expr:
    """``sums[l] + a[l].low * b[l].low + a[l].high * b[l].high`` for the words (uint32) of all lanes."""
    return tirx.call_extern(emit.vector_type(lanes), name(lanes), sums, a, b)


def name(lanes: int) -> str:
    """Of the function in LLVM."""
    return f"sam3port_dot_bfloat16_{lanes}"
