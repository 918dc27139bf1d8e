"""Short names for building TIR statement by statement.

The kernels are generated rather than scheduled: which value lives in a register is then what the code says, and
not what a chain of schedule steps leads to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, overload

from tvm import s_tir, tirx
from tvm.ir import StringImm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from sam3port.kernels.cpu.codegen.types import Buffer, Dim, Expr, Value

__all__ = ["Buffer", "Dim", "Expr", "Value"]

CACHE_LINE: Final = 64
"""Bytes that come from memory together, on every CPU that kernels are made for."""

OPAQUE: Final = 8
"""``OpPatternKind.kOpaque``: FuseOps must leave a finished kernel alone."""

Parameter = tuple[str, Sequence[Dim]] | tuple[str, Sequence[Dim], str]
"""Name, shape and, where it is not float32, type."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a kernel says about itself, for `sam3port.inspect.explain`."""

    name: str
    """What it computes, in a word or two."""
    schedule: str
    """Its tiles and blocks, in words."""
    flops: Dim | None = None
    """Operations of a call; what is no int is not known."""


def primfunc(
    parameters: Sequence[Parameter],
    body: Callable[..., None],
    dtype: str = "float32",
    kernel: Kernel | None = None,
) -> tirx.PrimFunc:
    """A finished kernel: no pass will schedule or fuse it. `body` gets one buffer for each parameter.

    Args:
        parameters: name, shape and, where it is not `dtype`, the type of each.
    """
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "op_pattern": OPAQUE, **_described(kernel)})
        buffers = [
            T.arg(label, T.buffer(tuple(shape), own[0] if own else dtype, layout=None))
            for label, shape, *own in parameters
        ]
        body(*buffers)
    function = builder.get()
    # Passes over call_tir expect a block at the root of every function, and the builder adds none.
    root = s_tir.SBlock(iter_vars=[], reads=[], writes=[], name_hint="root", body=function.body)
    return function.with_body(s_tir.SBlockRealize([], True, root))


def _described(kernel: Kernel | None) -> dict[str, str | int]:
    if kernel is None:
        return {}
    described: dict[str, str | int] = {"sam3port.kernel": kernel.name, "sam3port.schedule": kernel.schedule}
    return described | ({"sam3port.flops": kernel.flops} if isinstance(kernel.flops, int) else {})


def is_static(*dims: Dim) -> bool:
    """Whether all of them are known now."""
    return all(isinstance(dim, int) for dim in dims)


def static(dim: Dim | None) -> int | None:
    """`dim` where it is known now."""
    return dim if isinstance(dim, int) else None


@overload
def ceildiv(a: int, b: int) -> int: ...
@overload
def ceildiv(a: Dim, b: int) -> Dim: ...
def ceildiv(a: Dim, b: int) -> Dim:
    """`a` / `b`, rounded up."""
    return -(-a // b) if isinstance(a, int) else tirx.floordiv(a + (b - 1), b)


@overload
def minimum(a: int, b: int) -> int: ...
@overload
def minimum(a: Dim, b: Dim) -> Dim: ...
def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller one, now where both are known."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else tirx.min(a, b)


def constant(value: float, lanes: int = 1) -> Value:
    scalar = tirx.FloatImm("float32", value)
    return scalar if lanes == 1 else tirx.Broadcast(scalar, lanes)


def zero(dtype: str, lanes: int = 1) -> Value:
    """A zero of that type, or a vector of them."""
    scalar = tirx.FloatImm(dtype, 0.0) if dtype.startswith("float") else tirx.IntImm(dtype, 0)
    return broadcast(scalar, lanes)


def broadcast(value: Value, lanes: int) -> Value:
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def vector_type(lanes: int, dtype: str = "float32") -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def _ramp(indices: Sequence[Expr], lanes: int) -> list[Expr]:
    if lanes == 1:
        return list(indices)
    return [*indices[:-1], tirx.Ramp(indices[-1], 1, lanes)]


def load(buffer: Buffer, indices: Sequence[Expr], lanes: int = 1) -> Value:
    """`lanes` neighbours along the last axis."""
    return buffer[tuple(_ramp(indices, lanes))]


def store(buffer: Buffer, value: Expr, indices: Sequence[Expr], lanes: int = 1) -> None:
    T.buffer_store(buffer, value, _ramp(indices, lanes))


@overload
def bind(value: int) -> int: ...
@overload
def bind(value: Value) -> Value: ...
@overload
def bind(value: Expr) -> Expr: ...
def bind(value: Expr) -> Expr:
    """Computes `value` here and once."""
    return value if isinstance(value, int) else T.Bind(value)


def serial(extent: Dim) -> contextlib.AbstractContextManager[Value]:
    """A loop from 0 on, of one thread."""
    return T.serial(0, extent)


def parallel(extent: Dim) -> contextlib.AbstractContextManager[Value]:
    """A loop from 0 on, of all threads: each takes an equal share."""
    return T.parallel(0, extent)


def when(condition: Expr | bool, then: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
    """A branch at run time, or none at all when the condition is known now."""
    if isinstance(condition, tirx.IntImm):
        condition = bool(condition.value)
    if isinstance(condition, bool):
        if condition:
            then()
        elif otherwise is not None:
            otherwise()
        return
    with T.If(condition):
        with T.Then():
            then()
        if otherwise is not None:
            with T.Else():
                otherwise()


def llvm_imported(text: str) -> contextlib.AbstractContextManager[None]:
    """Within it, the functions of LLVM's own `text` can be called by ``tirx.call_extern``."""
    scope: contextlib.AbstractContextManager[None] = T.attr(
        tirx.IntImm("int32", 0), "pragma_import_llvm", StringImm(text)
    )
    return scope


def prefetch(element: Expr) -> None:
    """Asks for the cache line of an element of a buffer, without reading it."""
    read, near, data = (tirx.IntImm("int32", value) for value in (0, 3, 1))
    T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch.p0", T.address_of(element), read, near, data))


def scratch(shape: Sequence[Dim], dtype: str = "float32") -> Buffer:
    """Memory of this thread (of the call, outside a parallel loop). Under 1 KiB it is on the stack.

    Only scope "global" is put on the stack by TVM; "local" always goes through the workspace allocator, and an
    array of sums that is not on the stack is never kept in registers.
    """
    return T.alloc_buffer(tuple(shape), dtype, layout=None)
