"""What the target's vector registers look like, and the register tiles that fit into them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm.target import Target
from tvm.target.codegen import target_has_features

from sam3port.errors import UsageError


@dataclass(frozen=True, slots=True)
class RegisterTile:
    """The block of a product that is held in registers while the whole inner dimension runs by."""

    rows: int
    vectors: int
    lanes: int
    unroll: int = 1
    """Steps of the inner dimension in one round of the loop."""

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns} in registers of {self.lanes}"


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """float32 vector registers of a CPU."""

    lanes: int
    """float32 elements of one register."""
    registers: int
    cores: int
    """Cores to find work for; what the program really uses is chosen at run time."""
    unroll: int = 1
    """Of the inner loop. On x86, 4: fewer instructions beside the multiplications, which counts where a core's front
    end is shared with another thread. LLVM's scheduler for aarch64 loads the operands of all four steps at once and
    spills sums for it."""

    @property
    def _accumulators(self) -> int:
        # Three quarters hold sums (24 of 32, 12 of 16); the rest holds one step's columns and one row element.
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
        height = min(self._accumulators // vectors, 14)
        if rows is not None:
            height = min(height, rows)
            # 200 rows by 6 leave 2 over; 7 of them by 4 would waste none. Prefer even shares.
            height = math.ceil(rows / math.ceil(rows / height))
        return RegisterTile(rows=height, vectors=vectors, lanes=self.lanes, unroll=self.unroll)


def vector_unit(target: Target) -> VectorUnit:
    """Reads the target's features.

    ``llvm_get_vector_width`` is no help: it answers 512 for every x86-64, SSE2 included.

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

    if has("avx512f") and has("avx512vl"):
        # LLVM splits 512-bit values on CPUs tuned for 256 bits, which would spill a tile made for 512.
        return VectorUnit(lanes=8 if has("prefer-256-bit") else 16, registers=32, cores=cores, unroll=4)
    if has("avx512f"):
        return VectorUnit(lanes=16, registers=32, cores=cores, unroll=4)
    if has("avx2") or has("avx"):
        return VectorUnit(lanes=8, registers=16, cores=cores, unroll=4)
    if has("neon"):
        return VectorUnit(lanes=4, registers=32, cores=cores)
    if has("sse2"):
        return VectorUnit(lanes=4, registers=16, cores=cores, unroll=4)
    return VectorUnit(lanes=1, registers=16, cores=cores)
