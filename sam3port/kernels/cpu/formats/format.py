"""Number formats: how the operands of a product are grouped, packed, multiplied and finished.

A product sums over K. A *group* is as many neighbours along K as fit into one lane of a register (one float32, two
bfloat16, four bytes); loops count groups, and every buffer of packed operands holds groups. What a group is, only its
format knows: nobody else looks into one.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import numpy as np
import numpy.typing as npt

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Dim, Expr, Value
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.micro_kernel import MicroKernel

Element = Callable[[Expr], Value]
"""``k -> number``: the float32 at step k of K, or a vector of them along another axis."""


class Format(ABC):
    """How the operands of a product are computed with. What goes in and comes out is float32."""

    precision: ClassVar[str]
    """What operands are rounded to, as ``--dtype`` names it."""
    exact: ClassVar[bool] = False
    """Whether operands are multiplied as they are given. Then sums of operands are operands as good, and no digit of
    float32 may be left out elsewhere, either."""
    widens: ClassVar[bool] = False
    """Whether packed weights are stored in another type than they are multiplied in. They become that one chunk by
    chunk, in the nearest cache."""

    scales_rows: ClassVar[bool] = False
    """Whether each row of a left operand is brought to a size of its own before it is packed, see `row_factors`. Linear
    layers alone can do that."""
    companions: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Names and TVM's types of what lies beside a packed weight: tensors of one number for each column. Linear layers
    alone can have them."""

    @property
    @abstractmethod
    def micro_kernel(self) -> MicroKernel:
        """What a step of the register tile does with groups."""

    @property
    @abstractmethod
    def stored(self) -> str:
        """TVM's type of a group of a packed weight in memory."""

    @property
    @abstractmethod
    def described(self) -> str:
        """How weights are kept, in words for people."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of a group of a packed weight in memory."""
        return np.dtype(self.stored).itemsize

    @property
    def cached(self) -> str:
        """TVM's type of a group in the cache, from where it is multiplied."""
        return self.micro_kernel.operand

    @property
    def converts_left(self) -> bool:
        """Whether numbers of the left operand become others on the way, so that it pays to pack them once."""
        return False

    @overload
    def groups(self, depth: int) -> int: ...
    @overload
    def groups(self, depth: Dim) -> Dim: ...
    def groups(self, depth: Dim) -> Dim:
        """How many groups `depth` steps along K are; the last one may be filled with zeros."""
        return depth if self.micro_kernel.group == 1 else emit.ceildiv(depth, self.micro_kernel.group)

    def full_groups(self, depth: Dim) -> Dim:
        """How many of them are full: one that is not has no neighbours to be loaded with as a vector along K."""
        return depth if self.micro_kernel.group == 1 else depth // self.micro_kernel.group

    def all_full(self, depth: Dim) -> bool:
        """Whether it is known that no group is filled with zeros."""
        return self.micro_kernel.group == 1 or (isinstance(depth, int) and depth % self.micro_kernel.group == 0)

    def zero(self, lanes: int = 1) -> Value:
        """So many groups of zeros."""
        return emit.zero(self.cached, lanes)

    def instructions(self, lanes: int, *others: int) -> contextlib.AbstractContextManager[None]:
        """Within it, groups can be made: vectors of up to so many `lanes`, and of as many as `others` say."""
        return contextlib.nullcontext()

    @abstractmethod
    def group(self, depth: Dim, at: Expr, element: Element, lanes: int = 1) -> Value:
        """Group `at` of an activation of that depth, or `lanes` of them side by side along another axis than K."""

    @abstractmethod
    def groups_along(self, at: Expr, load: Callable[[Expr, int], Value], lanes: int) -> Value:
        """`lanes` full groups of an activation along K, from group `at` on.

        Args:
            load: ``(k, count) -> vector`` of so many neighbours along K, float32.
        """

    def row_factors(self, largest: Value) -> tuple[Value, Value]:
        """What numbers of a row are multiplied with, and what `finished` gets for it, where the format `scales_rows`.

        Args:
            largest: the largest magnitude in the row, float32.
        """
        raise NotImplementedError(f"{self} scales no rows")

    def companions_of(self, depth: int, element: Element) -> Sequence[Value]:
        """The `companions` of one column of a weight of that depth."""
        return ()

    def weight_group(self, depth: int, at: Expr, element: Element, companions: Sequence[Value] = ()) -> Value:
        """Group `at` of a column of a weight of that depth, of the type `stored`; the column has these `companions`."""
        return self.group(depth, at, element)

    def finished(self, sums: Value, row: Value | None, companions: Sequence[Value], lanes: int) -> Value:
        """The product's values, float32.

        Args:
            sums: a vector of accumulators of one row, for neighbouring columns.
            row: the second of the row's factors, where the format `scales_rows`.
            companions: vectors of those of the columns.
            lanes: of the vectors.
        """
        return sums

    def widened(self, groups: Value, lanes: int) -> Value:
        """Groups of a weight as they are multiplied, from groups as they are stored."""
        return groups

    @abstractmethod
    def on_host(self, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[Any]:
        """A weight as groups along `axis` (K), by numpy; as `weight_group` makes them."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a product is computed with: a CPU, and the format of its operands there."""

    cpu: Cpu
    """What the CPU has for it."""
    format: Format
    """How operands are grouped, packed and multiplied."""

    def instructions(self, *others: int) -> contextlib.AbstractContextManager[None]:
        """As `Format.instructions`, for the CPU's registers."""
        return self.format.instructions(self.cpu.lanes, *others)
