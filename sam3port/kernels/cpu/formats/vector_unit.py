"""What the target's vector registers look like, and the register tiles that fit into them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from tvm.target import Target
from tvm.target.codegen import target_has_features

from sam3port.errors import UsageError
from sam3port.kernels.cpu.codegen import powers
from sam3port.kernels.cpu.formats.dot import AVX512_BF16, NEON_BF16

FEW_ROWS: Final = 24
"""Rows of a product up to which bfloat16 is for the weights alone, see `VectorUnit.for_rows`."""


@dataclass(frozen=True, slots=True)
class RegisterTile:
    """The block of a product that is held in registers while the whole inner dimension runs by."""

    rows: int
    vectors: int
    lanes: int
    unroll: int = 1
    """Steps of the inner dimension in one round of the loop."""
    dot: str = ""
    """Instruction of `formats.dot` for a step that is a pair of bfloat16; empty: a step is a float32."""

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    def __str__(self) -> str:
        pairs = f", pairs of bfloat16 by {self.dot}" if self.dot else ""
        return f"{self.rows} x {self.columns} in registers of {self.lanes}{pairs}"


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """float32 vector registers of a CPU, and what products are computed in with them."""

    lanes: int
    """float32 elements of one register."""
    registers: int
    cores: int
    """Cores to find work for; what the program really uses is chosen at run time."""
    unroll: int = 1
    """Of the inner loop. On x86, 4: fewer instructions beside the multiplications, which counts where a core's front
    end is shared with another thread. LLVM's scheduler for aarch64 loads the operands of all four steps at once and
    spills sums for it."""
    dtype: str = "float32"
    """What the operands of products are rounded to, ``float32`` or ``bfloat16``. Sums are float32 in any case."""
    dot: str = ""
    """The CPU's instruction for pairs of bfloat16, see `sam3port.kernels.cpu.formats.dot`; empty: it has none."""
    rounds: bool = True
    """Whether in bfloat16 activations are rounded to it, too. Where they are not, weights become float32 before they
    are multiplied."""

    scales: bool = False
    """Whether it has the instructions of `sam3port.kernels.cpu.codegen.powers`."""

    @property
    def pairs(self) -> bool:
        """Whether a step of a product is a pair of bfloat16."""
        return self.dtype == "bfloat16" and self.rounds and bool(self.dot)

    @property
    def step_dot(self) -> str:
        """The instruction that products use, for `RegisterTile.dot`."""
        return self.dot if self.pairs else ""

    @property
    def widens(self) -> bool:
        """Whether weights are kept as bfloat16 and become float32 before they are multiplied."""
        return self.dtype == "bfloat16" and not self.pairs

    def for_rows(self, rows: Any) -> VectorUnit:
        """What products of that many rows are computed with: of few, the activations stay float32.

        A few tokens are all that a prompt is, and every pixel of its masks hangs on what becomes of them; they are
        also little work, so that rounding them would save next to nothing.

        Args:
            rows: an int, or a symbolic number, which counts as many.
        """
        few = self.dtype == "bfloat16" and isinstance(rows, int) and rows <= FEW_ROWS
        return replace(self, rounds=False) if few else self

    @property
    def anywhere(self) -> VectorUnit:
        """The same without instructions that are called by name: what it computes, any CPU can be told to."""
        return replace(self, dot="", scales=False)

    @property
    def accumulators(self) -> int:
        """Registers for sums: three quarters (24 of 32, 12 of 16). The rest has a step's columns and an element."""
        return self.registers * 3 // 4

    def tile(self, rows: int | None, columns: int | None) -> RegisterTile:
        """The tile for a product of that many rows and columns (None: unknown, taken as many).

        Wide tiles need the fewest loads for each multiplication; few columns are not worth the padding.
        """
        widest = 4 if self.registers >= 32 else 2
        vectors = widest
        if columns is not None:

            def cost(count: int) -> float:
                padded = math.ceil(columns / (count * self.lanes)) * count * self.lanes
                return padded * (1 + 0.25 / count)  # a step of the inner loop loads columns once for all rows

            vectors = min(range(widest, 0, -1), key=cost)
        height = min(self.accumulators // vectors, 14)
        if rows is not None:
            height = min(height, rows)
            # 200 rows by 6 leave 2 over; 7 of them by 4 would waste none. Prefer even shares.
            height = math.ceil(rows / math.ceil(rows / height))
        return RegisterTile(height, vectors, self.lanes, self.unroll, self.step_dot)

    def tile_of_few_rows(self, rows: int, columns: int) -> RegisterTile:
        """The tile that wastes least: sums for nothing, and a step's loads beside its multiplications."""

        def cost(sizes: tuple[int, int]) -> float:
            height, vectors = sizes
            padded = math.ceil(rows / height) * height * math.ceil(columns / (vectors * self.lanes)) * vectors
            return padded * (1 + 0.5 / height + 0.25 / vectors)

        sizes = [(height, vectors) for vectors in range(1, 5) for height in range(1, 15)]
        # Beside the sums, a step's columns and one element of a row.
        fitting = [(h, v) for h, v in sizes if h * v <= self.accumulators and h * v + v < self.registers]
        height, vectors = min(fitting, key=cost)
        return RegisterTile(height, vectors, self.lanes, self.unroll, self.step_dot)


def vector_unit(target: Target, dtype: str = "float32") -> VectorUnit:
    """Reads the target's features.

    ``llvm_get_vector_width`` is no help: it answers 512 for every x86-64, SSE2 included.

    Args:
        target: of kind llvm.
        dtype: what products shall be computed in.

    Raises:
        UsageError: the target is no CPU that LLVM compiles for.
    """
    if target.kind.name != "llvm":
        raise UsageError(
            f"the CPU kernels need an LLVM target, not {target.kind.name!r}",
            'give Target({"kind": "llvm", "mcpu": ...})',
        )
    cores = int(target.attrs.get("num-cores", 0)) or 4

    def has(feature: str) -> bool:
        return bool(target_has_features(feature, target))

    dot = AVX512_BF16 if has("avx512bf16") else ""
    if has("avx512f") and has("avx512vl"):
        # LLVM splits 512-bit values on CPUs tuned for 256 bits, which would spill a tile made for 512.
        lanes = 8 if has("prefer-256-bit") else 16
        scales = lanes == powers.LANES and has("avx512dq")
        return VectorUnit(lanes, registers=32, cores=cores, unroll=4, dtype=dtype, dot=dot, scales=scales)
    if has("avx512f"):
        return VectorUnit(lanes=16, registers=32, cores=cores, unroll=4, dtype=dtype, dot=dot)
    if has("avx2") or has("avx"):
        return VectorUnit(lanes=8, registers=16, cores=cores, unroll=4, dtype=dtype)
    if has("neon"):
        return VectorUnit(lanes=4, registers=32, cores=cores, dtype=dtype, dot=NEON_BF16 if has("bf16") else "")
    if has("sse2"):
        return VectorUnit(lanes=4, registers=16, cores=cores, unroll=4, dtype=dtype)
    return VectorUnit(lanes=1, registers=16, cores=cores, dtype=dtype)
