"""A small function of several kernels, for tests of what makes machine code of such."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROWS: Final = 3


def small(scale: float = 2.0, names: tuple[str, str] = ("scaled", "summed")) -> Any:
    """``main(x [3, 4]) -> (scale * x reshaped to [4, 3], sum of x and that in rows, largest and smallest of a row)``.

    Args:
        scale: is a part of the first kernel.
        names: of the first kernel and of the last.
    """
    from tvm import relax, te

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((ROWS, 4), "float32"))

    def ends(a: te.Tensor) -> list[te.Tensor]:
        axis = te.reduce_axis((0, 4))
        other = te.reduce_axis((0, 4))
        return [
            te.compute((ROWS,), lambda i: te.max(a[i, axis], axis), name="largest"),
            te.compute((ROWS,), lambda i: te.min(a[i, other], other), name="smallest"),
        ]

    with builder.function("main", [x]):
        with builder.dataflow():
            scaled = builder.emit(
                builder.call_te(
                    lambda a: te.compute(a.shape, lambda i, j: a[i, j] * scale), x, primfunc_name_hint=names[0]
                )
            )
            turned = builder.emit(relax.op.reshape(scaled, (4, ROWS)))
            both = builder.emit(builder.call_te(ends, x, primfunc_name_hint="ends"))
            summed = builder.emit(
                builder.call_te(
                    lambda a, b: te.compute(a.shape, lambda i, j: a[i, j] + b[i, j]),
                    x,
                    scaled,
                    primfunc_name_hint=names[1],
                )
            )
            output = builder.emit_output(relax.Tuple([turned, summed, both[0], both[1]]))
        builder.emit_func_output(output)
    return builder.get()


def expected(x: NDArray[np.float32], scale: float = 2.0) -> list[NDArray[np.float32]]:
    """What it computes."""
    scaled = x * np.float32(scale)
    return [scaled.reshape(4, ROWS), x + scaled, x.max(1), x.min(1)]
