"""Apple's GPUs."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, ClassVar, Final

from sam3port.targets.gpu import GpuTarget, device_modules

MOST_SHARED: Final = 32 << 10
"""Bytes of threadgroup memory: what all of Apple's GPUs have, by the Metal feature set tables."""


class MetalTarget(GpuTarget):
    """Metal source, which the Mac compiles when it loads the library, and code for its CPU."""

    name: ClassVar[str] = "metal"
    summary: ClassVar[str] = "the GPUs of Macs with Apple's processors, by Metal"
    device: ClassVar[str] = "metal"

    def target(self) -> Any:
        import tvm

        return tvm.target.Target(
            {"kind": "metal", "max_num_threads": 256, "max_shared_memory_per_block": MOST_SHARED},
            {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"},
        )

    def identity(self) -> str:
        return f"metal {self.dtype} {platform.system()}"

    def export(self, executable: Any, file: Path) -> None:
        from sam3port.kernels.gpu.metal_source import check_shared_memory

        for module in device_modules(executable, "metal"):
            check_shared_memory(str(module.inspect_source()), MOST_SHARED)
        executable.export_library(str(file))
