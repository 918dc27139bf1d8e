"""Two linear layers with few numbers at both ends: every row is a few inputs, many hidden features, a few results.

One after the other, the layers would write the hidden features to memory and read them again, for a few
multiplications each. Here a vector is one hidden feature of many rows; it is computed, multiplied and forgotten. In
float32 in any case: what is saved is the way through memory.
"""

from __future__ import annotations

from typing import Final

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit, epilogue, expressions
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Parameter, Value
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.codegen.tasks import tasks
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.micro_kernel import MULTIPLY_ADD
from sam3port.kernels.cpu.formats.register_tile import RegisterTile, accumulate

_MOST_INPUTS: Final = 4
_MOST_RESULTS: Final = 16
_LEAST_HIDDEN: Final = 32
_LEAST_VECTORS: Final = 8
"""Of rows: below that, lanes would be empty."""
_STRIPS: Final = 4
"""Of one task, which is worth some microseconds then."""


def fits(rows: Dim, inputs: int, hidden: int, results: int, cpu: Cpu) -> bool:
    """Whether two layers of these sizes should be computed so; an unknown number of rows counts as many."""
    many = not isinstance(rows, int) or rows >= _LEAST_VECTORS * cpu.lanes
    return many and cpu.lanes > 1 and inputs <= _MOST_INPUTS and hidden >= _LEAST_HIDDEN and results <= _MOST_RESULTS


def narrow_mlp_func(
    rows: Dim, inputs: int, hidden: int, results: int, cpu: Cpu, between: Epilogue = (), after: Epilogue = ()
) -> tirx.PrimFunc:
    """``(x[M, I], first[H, I], *operands, second[H, R], *operands, out[M, R])``.

    Args:
        rows: M; an int or a symbolic variable of type int64.
        between: what is done to hidden features, see `codegen.epilogue`; vector operands only, [H].
        after: the same for results, [R].
    """
    vectors = max(1, min(3, cpu.accumulators // results))
    tile = RegisterTile(results, vectors, cpu.lanes, cpu.unroll, MULTIPLY_ADD)
    strip = tile.columns
    inner = [(f"between_{name}", shape) for name, shape in epilogue.operand_shapes(between, hidden, ())]
    outer = [(f"after_{name}", shape) for name, shape in epilogue.operand_shapes(after, results, ())]

    def body(x: Buffer, first: Buffer, *rest: Buffer) -> None:
        inside, second, outside, out = rest[: len(inner)], rest[len(inner)], rest[len(inner) + 1 : -1], rest[-1]

        with tasks(emit.ceildiv(rows, _STRIPS * strip)) as task:
            columns = emit.scratch((inputs * strip,))
            spill = emit.scratch((results * strip,))
            start = emit.bind(task * (_STRIPS * strip))
            with emit.serial(emit.minimum(_STRIPS, emit.ceildiv(rows - start, strip))) as number:
                top = emit.bind(start + number * strip)
                with emit.serial(strip) as i:
                    for each in range(inputs):
                        # Rows beyond the last repeat it, and are not written.
                        emit.store(columns, x[tirx.min(top + i, rows - 1), each], [each * strip + i])

                def feature(step: Expr, j: int, columns: Buffer = columns) -> Value:
                    value = emit.constant(0.0, tile.lanes)
                    for each in range(inputs):
                        weight = emit.broadcast(first[step, each], tile.lanes)
                        given = emit.load(columns, [each * strip + j * tile.lanes], tile.lanes)
                        value = expressions.fma(given, weight, value)
                    return epilogue.apply(between, inside, value, step, [], tile.lanes, feature_is_last=False)

                sums = accumulate(tile, hidden, lambda step, i: second[step, i], feature, spill)
                for row in range(results):
                    for j in range(tile.vectors):
                        value = epilogue.apply(after, outside, sums(row, j), row, [], tile.lanes, feature_is_last=False)
                        emit.store(spill, value, [row * strip + j * tile.lanes], tile.lanes)
                with emit.serial(emit.minimum(strip, rows - top)) as i, emit.serial(results) as result:
                    emit.store(out, spill[result * strip + i], [top + i, result])

    parameters: list[Parameter] = [
        ("x", (rows, inputs)),
        ("first", (hidden, inputs)),
        *inner,
        ("second", (hidden, results)),
        *outer,
        ("out", (rows, results)),
    ]
    flops = 2 * rows * hidden * (inputs + results)
    kernel = emit.Kernel("two narrow layers", f"{tile}, hidden features in registers", flops)
    return emit.primfunc(parameters, body, kernel=kernel)
