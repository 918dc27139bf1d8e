"""Products of which the right operand has a few columns only: heads that give a score, or a box, for each row.

Register tiles would be empty for the most part, and rows be packed for nothing. Here each result is a dot product along
K, as both operands lie. In float32 in any case: what is read counts, not what is multiplied.
"""

from __future__ import annotations

import operator
from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue, lines
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.formats.cpu import Cpu

_MOST: Final = 4
_LEAST_VECTORS: Final = 4


def fits(n: Dim, k: Dim, cpu: Cpu) -> bool:
    """Whether a product over K with that many columns should be computed so."""
    if not (isinstance(n, int) and isinstance(k, int)):
        return False
    return n <= _MOST and cpu.lanes > 1 and k >= _LEAST_VECTORS * cpu.lanes


def few_columns_func(batch: Dim, m: Dim, n: int, k: int, cpu: Cpu, steps: Epilogue = ()) -> tirx.PrimFunc:
    """``(x[B, M, K], columns[B, N, K], *operands, out[B, M, N])``; `steps` as in `gemm.linear_func`.

    Vector operands are [N], tensor operands [B, M, N].
    """
    others = epilogue.operand_shapes(steps, n, (batch, m, n))

    def body(x: Buffer, columns: Buffer, *rest: Buffer) -> None:
        *extra, out = rest
        with lines.each_row(batch * m, n * k, cpu.cores) as place:
            item, row = emit.bind(place // m), emit.bind(place % m)
            for column in range(n):

                def product(at: Expr, lanes: int, column: int = column) -> Value:
                    return emit.load(x, [item, row, at], lanes) * emit.load(columns, [item, column, at], lanes)

                value = lines.fold(k, cpu.lanes, product, operator.add, 0.0)
                at = [item, row, column]
                emit.store(out, epilogue.apply(steps, extra, value, column, at, 1, feature_is_last=True), at)

    kernel = emit.Kernel("product", f"dot products in vectors of {cpu.lanes}", 2 * batch * m * n * k)
    parameters = [("x", (batch, m, k)), ("columns", (batch, n, k)), *others, ("out", (batch, m, n))]
    return emit.primfunc(parameters, body, kernel=kernel)
