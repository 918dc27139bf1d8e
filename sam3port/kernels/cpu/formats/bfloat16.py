"""bfloat16: half the memory for weights, and twice the speed where an instruction multiplies pairs of them.

Sums are float32 in any case. The products of `Pairs` and of `Widened` are the same, and their sums differ in the order
of their terms only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Dim, Expr, Value
from sam3port.kernels.cpu.formats import bfloat16_bits as bits
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.format import Element, Format
from sam3port.kernels.cpu.formats.micro_kernel import (
    AVX512_BF16,
    MULTIPLY_ADD,
    NEON_BF16,
    DotProduct,
    MicroKernel,
)

PRECISION: Final = "bfloat16"


@dataclass(frozen=True, slots=True)
class Pairs(Format):
    """A group is two neighbours along K in one uint32, the first in its lower half, of weights as of activations."""

    precision: ClassVar[str] = PRECISION

    dot: DotProduct
    """The CPU's instruction for pairs."""

    @property
    def micro_kernel(self) -> MicroKernel:
        return self.dot

    @property
    def stored(self) -> str:
        return self.cached

    @property
    def described(self) -> str:
        return "weight packed as pairs of bfloat16"

    @property
    def converts_left(self) -> bool:
        return True

    def instructions(self, lanes: int, *others: int) -> contextlib.AbstractContextManager[None]:
        return bits.imported([*(1 << power for power in range(1, lanes.bit_length())), *others])

    def group(self, depth: Dim, at: Expr, element: Element, lanes: int = 1) -> Value:
        even = self.all_full(depth)
        # Beyond an odd depth: any element that is there, and zero made of it.
        second = 2 * at + 1 if even else tirx.min(2 * at + 1, depth - 1)
        low, high = element(2 * at), element(second)
        pair = bits.pair(low, high) if lanes == 1 else bits.pairs_beside(low, high, lanes)
        if even:
            return pair
        there = tirx.Select(2 * at + 1 < depth, tirx.IntImm("uint32", 0xFFFFFFFF), tirx.IntImm("uint32", 0xFFFF))
        return tirx.bitwise_and(pair, emit.broadcast(there, lanes))

    def groups_along(self, at: Expr, load: Callable[[Expr, int], Value], lanes: int) -> Value:
        if lanes == 1:
            return bits.pair(load(2 * at, 1), load(2 * at + 1, 1))
        return bits.pairs_along(load(2 * at, 2 * lanes), lanes)

    def on_host(self, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[Any]:
        return bits.paired(weight, axis)

    def __str__(self) -> str:
        return f"pairs of bfloat16 by {self.dot.feature}"


@dataclass(frozen=True, slots=True)
class Widened(Format):
    """Weights are stored as bfloat16 (a uint16 each), and everything is multiplied as float32."""

    precision: ClassVar[str] = PRECISION
    widens: ClassVar[bool] = True

    rounds_left: bool = True
    """Whether activations are rounded to bfloat16, too; they lie in the cache as float32 in any case."""

    @property
    def micro_kernel(self) -> MicroKernel:
        return MULTIPLY_ADD

    @property
    def stored(self) -> str:
        return "uint16"

    @property
    def described(self) -> str:
        return f"weight packed as bfloat16, made float32 in chunks{'' if self.rounds_left else ' for rows in float32'}"

    @property
    def converts_left(self) -> bool:
        return self.rounds_left

    def group(self, depth: Dim, at: Expr, element: Element, lanes: int = 1) -> Value:
        return bits.rounded(element(at), lanes) if self.rounds_left else element(at)

    def groups_along(self, at: Expr, load: Callable[[Expr, int], Value], lanes: int) -> Value:
        return bits.rounded(load(at, lanes), lanes) if self.rounds_left else load(at, lanes)

    def weight_group(self, depth: int, at: Expr, element: Element, companions: Sequence[Value] = ()) -> Value:
        return bits.narrow(element(at))

    def widened(self, groups: Value, lanes: int) -> Value:
        return bits.widen(groups, lanes)

    def on_host(self, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[Any]:
        return bits.narrowed(weight)

    def __str__(self) -> str:
        return (
            "bfloat16 made float32" if self.rounds_left else "weights in bfloat16 made float32, activations in float32"
        )


def dot_of_bfloat16(feature: str) -> DotProduct:
    """The instruction that a feature of that name stands for: pairs of bfloat16, summed in float32."""
    return DotProduct(2, "uint32", "float32", feature, PRECISION, "bfloat", "pairs of bfloat16")


WIDENED: Final = Widened()
WEIGHTS_WIDENED: Final = Widened(rounds_left=False)


def pairs_on(cpu: Cpu) -> Pairs | None:
    """The format of pairs where the CPU has an instruction for them."""
    feature = next((feature for feature in (AVX512_BF16, NEON_BF16) if feature in cpu.features), None)
    return None if feature is None else Pairs(dot_of_bfloat16(feature))
