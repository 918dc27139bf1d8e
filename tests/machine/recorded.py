"""Recorded machines: what they say about themselves, and what has to come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "cpus"


@dataclass(frozen=True)
class Expected:
    """What is built for a recorded machine."""

    mcpu: str
    """LLVM's name, for tuning."""
    lanes: int
    """float32 elements of a register that kernels use."""
    registers: int
    dot: str = ""
    """The feature whose instruction multiplies bfloat16 in a bfloat16 build; empty: float32 does."""


MACHINES: Final = {
    "amd-bulldozer": Expected("bdver1", 8, 16),
    "amd-piledriver": Expected("bdver2", 8, 16),
    "amd-zen2": Expected("znver2", 8, 16),
    "amd-zen3": Expected("znver3", 8, 16),
    "amd-zen4": Expected("znver4", 16, 32, "avx512bf16"),
    "amd-zen4-vm-without-avx512": Expected("znver4", 8, 16),
    "amd-zen5": Expected("znver5", 16, 32, "avx512bf16"),
    "ampere-altra": Expected("neoverse-n1", 4, 32),
    "ampere-one-a": Expected("ampere1a", 4, 32, "bf16"),
    "apple-intel-mac": Expected("skylake", 8, 16),
    "apple-intel-mac-haswell-machdep": Expected("x86-64-v3", 8, 16),  # it does not say its model
    "apple-m1": Expected("apple-m1", 4, 32),
    "apple-m1-asahi-linux": Expected("apple-m1", 4, 32),
    "apple-m1-macos-11": Expected("apple-m1", 4, 32),
    "apple-m2": Expected("apple-m2", 4, 32),  # its bfdot is half as fast as float32
    "apple-m2-asahi-linux": Expected("apple-m2", 4, 32),
    "apple-m3": Expected("apple-m3", 4, 32),
    "apple-m4": Expected("apple-m4", 4, 32),
    "fujitsu-a64fx": Expected("a64fx", 4, 32),
    "google-axion": Expected("neoverse-v2", 4, 32, "bf16"),
    "graviton1": Expected("cortex-a72", 4, 32),
    "graviton2": Expected("neoverse-n1", 4, 32),
    "graviton3": Expected("neoverse-v1", 4, 32, "bf16"),
    "graviton4": Expected("neoverse-v2", 4, 32, "bf16"),
    "intel-alder-lake": Expected("alderlake", 8, 16),
    "intel-arrow-lake": Expected("arrowlake-s", 8, 16),
    "intel-arrow-lake-older-kernel": Expected("arrowlake-s", 8, 16),
    "intel-atom-without-avx": Expected("tremont", 4, 16),
    "intel-cascade-lake": Expected("cascadelake", 16, 32),
    "intel-emerald-rapids-vm-without-amx": Expected("emeraldrapids", 16, 32),  # vdpbf16ps: half of float32's rate
    "intel-granite-rapids": Expected("graniterapids", 16, 32),
    "intel-haswell": Expected("haswell", 8, 16),
    "intel-icelake-server": Expected("icelake-server", 16, 32),
    "intel-ivy-bridge": Expected("ivybridge", 8, 16),
    "intel-pentium-without-avx": Expected("skylake", 4, 16),
    "intel-sandy-bridge": Expected("sandybridge", 8, 16),
    "intel-sapphire-rapids-bare-metal": Expected("sapphirerapids", 16, 32),
    "intel-sapphire-rapids-vm": Expected("sapphirerapids", 16, 32),
    "intel-skylake-avx512": Expected("skylake-avx512", 16, 32),
    "intel-skylake-x-without-avx512": Expected("skylake-avx512", 8, 16),
    "intel-tiger-lake": Expected("tigerlake", 8, 32),  # nothing is known against LLVM's choice of 256 bits
    "neoverse-n2": Expected("neoverse-n2", 4, 32, "bf16"),
    "neoverse-v3ae": Expected("neoverse-v3ae", 4, 32, "bf16"),
    "nvidia-grace": Expected("neoverse-v2", 4, 32, "bf16"),
    "qemu-cpu-with-avx2": Expected("x86-64-v3", 8, 16),
    "qemu64": Expected("x86-64", 4, 16),
    "raspberry-pi-4": Expected("cortex-a72", 4, 32),
    "raspberry-pi-5": Expected("cortex-a76", 4, 32),
}
"""By the name of the file in tests/machine/cpus."""


def text(name: str) -> str:
    """What the machine says."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
