"""Loops whose iterations are handed out one by one, to whichever thread is free.

TVM gives each thread an equal share of a parallel loop beforehand. On a machine where one core is slower for a while
(another program, a second kind of core) all others then wait for it at the end of every kernel: a twentieth to a
tenth of the time of the matrix products, measured on two cores of a shared machine. Here the threads draw numbers
from one counter instead. What a task computes does not depend on who computes it, so results keep every bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Dim, Expr

_NEXT: Final = "sam3port_next_task"
_NEXT_IN_LLVM: Final = f"""
define linkonce_odr hidden i32 @{_NEXT}(ptr %counter) alwaysinline {{
  %number = atomicrmw add ptr %counter, i32 1 monotonic
  ret i32 %number
}}
"""
"""TIR has atomic additions for GPUs only."""
_MOST_THREADS: Final = 128
"""Drawing a number that is too large costs some nanoseconds, so this may be more than there are cores."""
_LINE: Final = emit.CACHE_LINE // 4
"""Numbers of int32 in a cache line, which the counter has for itself."""


@contextlib.contextmanager
def tasks(count: Dim) -> Iterator[Expr]:
    """A parallel loop over ``0 <= task < count`` (int64), below 2**31.

    Use it where a task is worth some microseconds, and `emit.parallel` where it is not.
    """
    if isinstance(count, int) and count <= 1:
        with emit.parallel(count) as task:
            yield task
        return
    counter = emit.scratch((_LINE,), "int32")
    T.buffer_store(counter, tirx.IntImm("int32", 0), [0])
    threads = min(count, _MOST_THREADS) if isinstance(count, int) else _MOST_THREADS
    with (
        emit.llvm_imported(_NEXT_IN_LLVM),
        emit.parallel(threads),
    ):
        number = emit.scratch((1,), "int32")

        def draw() -> None:
            drawn = tirx.call_extern("int32", _NEXT, T.address_of(counter[0]))
            T.buffer_store(number, drawn, [0])

        draw()
        with T.While(tirx.Cast("int64", number[0]) < count):
            yield emit.bind(tirx.Cast("int64", number[0]))
            draw()
