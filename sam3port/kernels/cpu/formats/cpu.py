"""What a CPU has for vectors of numbers, as far as kernels ask: hardware alone, no number format and no policy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from tvm.target import Target
from tvm.target.codegen import target_has_features

from sam3port.errors import UsageError
from sam3port.kernels.cpu.codegen import powers
from sam3port.kernels.cpu.formats.micro_kernel import AVX512_BF16, NEON_BF16

_EXPONENTS: Final = ("avx512dq", "avx512vl")
"""What the instructions of `codegen.powers` need beside AVX-512's foundation."""
_CALLED_ON_X86: Final = (AVX512_BF16, *_EXPONENTS)
_CALLED_ON_ARM: Final = (NEON_BF16,)
"""LLVM's names of the features whose instructions kernels call by name. LLVM finds the others by itself."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The vector registers of a CPU, and the instructions that kernels call by name."""

    lanes: int
    """How many float32 one register holds."""
    registers: int
    """How many vector registers there are."""
    cores: int
    """Cores to find work for; what the program really uses is chosen at run time."""
    unroll: int = 1
    """Steps in one round of the inner loop of a product. On x86 it is 4: fewer instructions beside the multiplications,
    which counts where a core's front end is shared with another thread. LLVM's scheduler for aarch64 loads the operands
    of all four steps at once and spills accumulators for it."""
    features: frozenset[str] = field(default=frozenset())
    """LLVM's names of those features that the CPU has, of those that kernels ask for."""

    @property
    def scales_exponents(self) -> bool:
        """Whether the CPU has the instructions of `codegen.powers`."""
        return self.lanes == powers.LANES and self.features.issuperset(_EXPONENTS)

    @property
    def anywhere(self) -> Cpu:
        """The same CPU without instructions that are called by name: what it computes, any CPU can be told to."""
        return replace(self, features=frozenset())

    @property
    def accumulators(self) -> int:
        """Registers that may hold sums: three quarters (24 of 32, 12 of 16). The others hold operands of a step."""
        return self.registers * 3 // 4


def cpu_of(target: Target) -> Cpu:
    """Reads the features of a target.

    ``llvm_get_vector_width`` is no help: it answers 512 for every x86-64, SSE2 included.

    Args:
        target: of kind llvm.

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

    def those_of(features: tuple[str, ...]) -> frozenset[str]:
        return frozenset(feature for feature in features if has(feature))

    if has("avx512f"):
        # LLVM splits 512-bit values on CPUs tuned for 256 bits, which would spill a tile made for 512.
        lanes = 8 if has("avx512vl") and has("prefer-256-bit") else 16
        return Cpu(lanes, registers=32, cores=cores, unroll=4, features=those_of(_CALLED_ON_X86))
    if has("avx2") or has("avx"):
        return Cpu(lanes=8, registers=16, cores=cores, unroll=4)
    if has("neon"):
        return Cpu(lanes=4, registers=32, cores=cores, features=those_of(_CALLED_ON_ARM))
    if has("sse2"):
        return Cpu(lanes=4, registers=16, cores=cores, unroll=4)
    return Cpu(lanes=1, registers=16, cores=cores)
