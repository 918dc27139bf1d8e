"""A format that is not there, of four bytes to a group: one class and rows of the table are all that it takes.

Integer sums, a scale for each row that is found when the program runs, and one for each column beside the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from tvm import tirx
from tvm.relax import op

from sam3port.kernels.cpu.codegen import emit, expressions, lines
from sam3port.kernels.cpu.codegen.emit import Dim, Expr
from sam3port.kernels.cpu.formats import policy
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic, Element, Format
from sam3port.kernels.cpu.formats.micro_kernel import MicroKernel
from sam3port.kernels.cpu.formats.policy import Kind, Rule
from sam3port.kernels.cpu.products import gemm
from tests.kernels.cpu.test_dispatch import evaluate, module
from tests.kernels.running import CPU, Array, compile_function, random, run

LARGEST = 127.0


@dataclass(frozen=True, slots=True)
class FourBytes(MicroKernel):
    """In arithmetic that every CPU has."""

    group: int = 4
    operand: str = "uint32"
    sums: str = "int32"

    def multiply_add(self, sums: Expr, a: Expr, b: Expr, lanes: int) -> Expr:
        dtype = emit.vector_type(lanes, "int32")

        def number(groups: Expr, index: int) -> Expr:
            top = tirx.shift_left(tirx.reinterpret(dtype, groups), whole(24 - 8 * index, lanes))
            return tirx.shift_right(top, whole(24, lanes))

        for index in range(4):
            sums = sums + number(a, index) * number(b, index)
        return sums


def whole(value: int, lanes: int) -> Expr:
    return emit.broadcast(tirx.IntImm("int32", value), lanes)


@dataclass(frozen=True, slots=True)
class Bytes(Format):
    """Rows and columns brought to -127..127, in whole numbers."""

    precision: ClassVar[str] = "int8"
    scales_rows: ClassVar[bool] = True
    companions: ClassVar[tuple[tuple[str, str], ...]] = (("scales", "float32"),)

    @property
    def micro_kernel(self) -> MicroKernel:
        return FourBytes()

    @property
    def stored(self) -> str:
        return self.cached

    @property
    def described(self) -> str:
        return "weight packed as fours of bytes"

    @property
    def converts_left(self) -> bool:
        return True

    def row_factors(self, largest: Expr) -> tuple[Expr, Expr]:
        size = emit.bind(tirx.Select(largest == emit.constant(0.0), emit.constant(1.0), largest))
        return emit.constant(LARGEST) / size, size / emit.constant(LARGEST)

    def companions_of(self, depth: int, element: Element) -> Sequence[Expr]:
        largest = lines.fold(depth, 1, lambda k, _lanes: expressions.magnitude(element(k), 1), tirx.max, 0.0)
        return [self.row_factors(largest)[1]]

    def group(self, depth: Dim, at: Expr, element: Element, lanes: int = 1) -> Expr:
        def number(index: int) -> Expr:
            k = 4 * at + index
            value = rounded(element(k if self.all_full(depth) else tirx.min(k, depth - 1)), lanes)
            if self.all_full(depth):
                return value
            return value * emit.broadcast(tirx.Select(k < depth, whole(1, 1), whole(0, 1)), lanes)

        return together([number(index) for index in range(4)], lanes)

    def groups_along(self, at: Expr, load: Callable[[Expr, int], Expr], lanes: int) -> Expr:
        if lanes == 1:
            return together([rounded(load(4 * at + index, 1), 1) for index in range(4)], 1)
        numbers = emit.bind(rounded(load(4 * at, 4 * lanes), 4 * lanes))
        every = [list(range(index, 4 * lanes, 4)) for index in range(4)]
        return together([emit.bind(tirx.Shuffle([numbers], places)) for places in every], lanes)

    def weight_group(self, depth: int, at: Expr, element: Element, companions: Sequence[Expr] = ()) -> Expr:
        (scale,) = companions
        return self.group(depth, at, lambda k: element(k) / scale)

    def finished(self, sums: Expr, row: Expr | None, companions: Sequence[Expr], lanes: int) -> Expr:
        (scales,) = companions
        return tirx.Cast(emit.vector_type(lanes), sums) * emit.broadcast(row, lanes) * scales

    def on_host(self, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[Any]:
        raise NotImplementedError


def rounded(x: Expr, lanes: int) -> Expr:
    return tirx.Cast(emit.vector_type(lanes, "int32"), tirx.floor(x + emit.constant(0.5, lanes)))


def together(numbers: list[Expr], lanes: int) -> Expr:
    low = [tirx.bitwise_and(number, whole(255, lanes)) for number in numbers]
    placed = [tirx.shift_left(number, whole(8 * index, lanes)) for index, number in enumerate(low)]
    both = [tirx.bitwise_or(placed[0], placed[1]), tirx.bitwise_or(placed[2], placed[3])]
    return tirx.reinterpret(emit.vector_type(lanes, "uint32"), tirx.bitwise_or(*both))


def whole_rows(x: Array) -> tuple[Array, Array]:
    """Each row as whole numbers, and what they are to be multiplied with."""
    size = np.abs(x).max(axis=1, keepdims=True)
    return np.floor(x * (np.float32(LARGEST) / size) + np.float32(0.5)), size / np.float32(LARGEST)


def expected(x: Array, weight: Array) -> Array:
    left, of_rows = whole_rows(x)
    size = np.abs(weight).max(axis=1, keepdims=True) / np.float32(LARGEST)
    right = np.floor(weight / size + np.float32(0.5))
    return np.asarray((left.astype(np.float64) @ right.astype(np.float64).T) * of_rows * size.T)


ARITHMETIC = Arithmetic(CPU, Bytes())


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (97, 101, 103), (200, 64, 256), (5, 300, 65), (40, 33, 1030)])
def test_a_linear_layer(m: int, n: int, k: int) -> None:
    x, weight, bias = random(m, m, k), random(n, n, k), random(2, n)
    panels, scales = (
        tvm.runtime.tensor(np.zeros(shape, dtype)) for _, shape, dtype in gemm.packed_weight(n, k, ARITHMETIC)
    )
    compile_function(gemm.pack_weight_func(n, k, ARITHMETIC))(tvm.runtime.tensor(weight), panels, scales)
    function = gemm.linear_func(m, n, k, ARITHMETIC, ("add_vector",))
    ours = run(function, [x, panels.numpy(), scales.numpy(), bias], (m, n))
    exact = expected(x, weight) + bias
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)


def test_rows_of_the_table_bring_it_into_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (
        Rule("int8", (Kind.LINEAR,), lambda _cpu: Bytes(), "a test"),
        Rule("int8", (Kind.PRODUCT,), lambda _cpu: FLOAT32, "a test"),
    )
    monkeypatch.setattr(policy, "RULES", (*policy.RULES, *rules))
    x, y, weight = random(0, 60, 40), random(1, 64, 90), random(2, 64, 40)

    def build(emit: Any, x: Any, y: Any, w: Any) -> Any:
        return emit(op.matmul(emit(op.matmul(x, emit(op.permute_dims(w, [1, 0])))), y))

    (ours,) = evaluate(module([x.shape, y.shape], [weight.shape], build), [x, y], [weight], "int8")
    exact = expected(x, weight) @ y
    assert np.abs(ours - exact).max() < 1e-5 * np.abs(exact).max()
