"""Numbers rounded to bfloat16 and back, as arithmetic on the bits of float32.

TVM's own bfloat16 is no help: its passes turn every value of that type into float32 or uint16 on the way, also where
an instruction wants it. Here a bfloat16 is a uint16, or half of a uint32, that nothing but these functions reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Value

_SIGN_AWAY = 0x7FFFFFFF
_INFINITY = 0x7F800000
_QUIET = 0x00400000
_UPPER = 0xFFFF0000
_BELOW_HALF = 0x7FFF


def _number(value: int, lanes: int, dtype: str = "uint32") -> Value:
    return emit.broadcast(tirx.IntImm(dtype, value), lanes)


def rounded_bits(x: Value, lanes: int) -> Value:
    """uint32: the bfloat16 nearest to a float32 (ties to even) in its upper half, zero in its lower one.

    Infinities stay, what is beyond the largest bfloat16 becomes one, NaN stays NaN.
    """
    bits = emit.bind(tirx.reinterpret(emit.vector_type(lanes, "uint32"), x))
    odd = tirx.bitwise_and(tirx.shift_right(bits, _number(16, lanes)), _number(1, lanes))
    nearest = bits + _number(_BELOW_HALF, lanes) + odd
    # Not x != x, which the simplifier takes for never true; and rounding would carry a NaN into infinity or zero.
    nan = tirx.bitwise_and(bits, _number(_SIGN_AWAY, lanes)) > _number(_INFINITY, lanes)
    kept = tirx.Select(nan, tirx.bitwise_or(bits, _number(_QUIET, lanes)), nearest)
    return emit.bind(tirx.bitwise_and(kept, _number(_UPPER, lanes)))


def rounded(x: Value, lanes: int) -> Value:
    """float32: `x` rounded to bfloat16."""
    return tirx.reinterpret(emit.vector_type(lanes), rounded_bits(x, lanes))


def narrow(x: Value, lanes: int = 1) -> Value:
    """uint16: the bits of `x` rounded to bfloat16."""
    return tirx.Cast(emit.vector_type(lanes, "uint16"), tirx.shift_right(rounded_bits(x, lanes), _number(16, lanes)))


def widen(bits: Value, lanes: int) -> Value:
    """float32: the bfloat16 of these uint16, exactly."""
    upper = tirx.shift_left(tirx.Cast(emit.vector_type(lanes, "uint32"), bits), _number(16, lanes))
    return tirx.reinterpret(emit.vector_type(lanes), upper)


def pair(low: Value, high: Value) -> Value:
    """uint32: two float32 rounded to bfloat16, `low` in the lower half."""
    return tirx.bitwise_or(tirx.shift_right(rounded_bits(low, 1), _number(16, 1)), rounded_bits(high, 1))


def imported(widths: Iterable[int]) -> contextlib.AbstractContextManager[None]:
    """Within it, `pairs_along` and `pairs_beside` can be called for these numbers of words."""
    return emit.llvm_imported("".join(map(_in_llvm, sorted(set(widths)))))


def pairs_along(x: Value, lanes: int) -> Value:
    """uint32: `lanes` pairs from ``2 * lanes`` neighbours, float32.

    By the CPU's own instruction where it has one; LLVM knows. Subnormal numbers may become 0.
    """
    return tirx.call_extern(emit.vector_type(lanes, "uint32"), _along(lanes), x)


def pairs_beside(low: Value, high: Value, lanes: int) -> Value:
    """uint32: pairs from two vectors of float32, likewise."""
    return tirx.call_extern(emit.vector_type(lanes, "uint32"), _beside(lanes), low, high)


def _in_llvm(lanes: int) -> str:
    def vector(element: str, count: int = lanes) -> str:
        return f"<{count} x {element}>"

    shifts = ", ".join(["i32 16"] * lanes)
    header = f"define linkonce_odr hidden {vector('i32')}"
    return f"""
{header} @{_along(lanes)}({vector("float", 2 * lanes)} %x) alwaysinline {{
  %narrow = fptrunc {vector("float", 2 * lanes)} %x to {vector("bfloat", 2 * lanes)}
  %words = bitcast {vector("bfloat", 2 * lanes)} %narrow to {vector("i32")}
  ret {vector("i32")} %words
}}
{header} @{_beside(lanes)}({vector("float")} %low, {vector("float")} %high) alwaysinline {{
  %narrow0 = fptrunc {vector("float")} %low to {vector("bfloat")}
  %narrow1 = fptrunc {vector("float")} %high to {vector("bfloat")}
  %bits0 = bitcast {vector("bfloat")} %narrow0 to {vector("i16")}
  %bits1 = bitcast {vector("bfloat")} %narrow1 to {vector("i16")}
  %wide0 = zext {vector("i16")} %bits0 to {vector("i32")}
  %wide1 = zext {vector("i16")} %bits1 to {vector("i32")}
  %upper = shl {vector("i32")} %wide1, <{shifts}>
  %words = or {vector("i32")} %wide0, %upper
  ret {vector("i32")} %words
}}
"""


def _along(lanes: int) -> str:
    return f"sam3port_pairs_along_{lanes}"


def _beside(lanes: int) -> str:
    return f"sam3port_pairs_beside_{lanes}"


def narrowed(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of an array rounded to bfloat16, on the host."""
    import ml_dtypes  # type: ignore[import-not-found,import-untyped,unused-ignore]  # comes with tvm

    # A large number becoming infinite is no accident here, nor is a NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        bits: npt.NDArray[Any] = array.astype(ml_dtypes.bfloat16).view(np.uint16)
    return bits


def paired(array: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.uint32]:
    """Neighbours along `axis` as pairs in uint32, on the host; an odd one out has zero beside it."""
    bits = np.moveaxis(narrowed(array), axis, -1).astype(np.uint32)
    if bits.shape[-1] % 2:
        bits = np.concatenate([bits, np.zeros((*bits.shape[:-1], 1), np.uint32)], axis=-1)
    words = bits[..., 0::2] | (bits[..., 1::2] << np.uint32(16))
    return np.ascontiguousarray(np.moveaxis(words, -1, axis))
