"""2**x by AVX-512's instructions for exponents: what is left of x beside an integer, and a number times a power of two.

Half the operations of `expressions.exp2_nonpositive`, which does both in the bits of a float32; in attention with 32
features a head that is a tenth of the time. As in `dot`, they are called through functions in LLVM's own text.
"""

from __future__ import annotations

import contextlib
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, expressions
from sam3port.kernels.cpu.codegen.emit import Value

LANES: Final = 16
_NEAREST, _DOWN = 8, 9
"""Rounding by ``vreduceps``, without exceptions."""
# 2**r for r between 0 and 1, good to 2.7e-6: a thousandth of what bfloat16 rounds away.
_COARSE: Final = (
    1.0000026226043701,
    0.6930027008056641,
    0.24145016074180603,
    0.051998406648635864,
    0.013541007414460182,
)

_ALL_LANES = "i16 -1, i32 4"
_FLOATS = f"<{LANES} x float>"
_REDUCE = "llvm.x86.avx512.mask.reduce.ps.512"
_SCALE = "llvm.x86.avx512.mask.scalef.ps.512"
_IN_LLVM = f"""
declare {_FLOATS} @{_REDUCE}({_FLOATS}, i32 immarg, {_FLOATS}, i16, i32 immarg)
declare {_FLOATS} @{_SCALE}({_FLOATS}, {_FLOATS}, {_FLOATS}, i16, i32 immarg)
define linkonce_odr hidden {_FLOATS} @sam3port_rest_{_NEAREST}({_FLOATS} %x) alwaysinline {{
  %r = call {_FLOATS} @{_REDUCE}({_FLOATS} %x, i32 {_NEAREST}, {_FLOATS} zeroinitializer, {_ALL_LANES})
  ret {_FLOATS} %r
}}
define linkonce_odr hidden {_FLOATS} @sam3port_rest_{_DOWN}({_FLOATS} %x) alwaysinline {{
  %r = call {_FLOATS} @{_REDUCE}({_FLOATS} %x, i32 {_DOWN}, {_FLOATS} zeroinitializer, {_ALL_LANES})
  ret {_FLOATS} %r
}}
define linkonce_odr hidden {_FLOATS} @sam3port_scaled({_FLOATS} %x, {_FLOATS} %power) alwaysinline {{
  %y = call {_FLOATS} @{_SCALE}({_FLOATS} %x, {_FLOATS} %power, {_FLOATS} zeroinitializer, {_ALL_LANES})
  ret {_FLOATS} %y
}}
"""


def imported() -> contextlib.AbstractContextManager[None]:
    """Within it, the functions of this module can be called."""
    return emit.llvm_imported(_IN_LLVM)


def exp2(x: Value) -> Value:
    """2**x of `LANES` numbers, to about one unit in the last place; -inf gives 0, NaN stays NaN."""
    rest = emit.bind(_called(f"sam3port_rest_{_NEAREST}", x))
    return _called("sam3port_scaled", expressions.exp2_of_rest(rest, LANES), x - rest)


def exp2_coarse(x: Value) -> Value:
    """The same to 3e-6 of it, for what is rounded to bfloat16."""
    rest = emit.bind(_called(f"sam3port_rest_{_DOWN}", x))
    return _called("sam3port_scaled", expressions.horner(rest, _COARSE, LANES), x)


def _called(name: str, *arguments: Value) -> Value:
    return tirx.call_extern(emit.vector_type(LANES), name, *arguments)
