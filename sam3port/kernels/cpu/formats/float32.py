"""float32: every number as it is, one in each lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from sam3port.kernels.cpu.codegen.emit import Dim, Expr, Value
from sam3port.kernels.cpu.formats.format import Element, Format
from sam3port.kernels.cpu.formats.micro_kernel import MULTIPLY_ADD, MicroKernel


@dataclass(frozen=True, slots=True)
class Float32(Format):
    """Operands are multiplied as they are given."""

    precision: ClassVar[str] = "float32"
    exact: ClassVar[bool] = True

    @property
    def micro_kernel(self) -> MicroKernel:
        return MULTIPLY_ADD

    @property
    def stored(self) -> str:
        return "float32"

    @property
    def described(self) -> str:
        return "weight packed"

    def group(self, depth: Dim, at: Expr, element: Element, lanes: int = 1) -> Value:
        return element(at)

    def groups_along(self, at: Expr, load: Callable[[Expr, int], Value], lanes: int) -> Value:
        return load(at, lanes)

    def on_host(self, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[Any]:
        return weight

    def __str__(self) -> str:
        return "float32"


FLOAT32: Final = Float32()
