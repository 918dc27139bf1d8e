"""NVIDIA's GPUs."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar, Final

from sam3port.errors import Sam3PortError, UsageError
from sam3port.targets.gpu import GpuTarget, device_modules

_USUAL: Final = "sm_80"
_LACKING: Final = "nvcc, of NVIDIA's CUDA toolkit"


class CudaTarget(GpuTarget):
    """CUDA C by TVM, machine code by nvcc: for the architecture of ``--arch``, and PTX for later ones."""

    name: ClassVar[str] = "cuda"
    summary: ClassVar[str] = "NVIDIA's GPUs, by nvcc"
    device: ClassVar[str] = "cuda"
    options: ClassVar[tuple[str, ...]] = ("arch",)

    @property
    def arch(self) -> str:
        """``sm_80``, ``sm_90a``, ..."""
        return self.chosen.get("arch", _USUAL)

    def target(self) -> Any:
        import tvm

        # The CPU beside the GPU only starts kernels: any one of this machine's kind is good enough.
        host = {"kind": "llvm", "mcpu": "x86-64" if platform.machine() == "x86_64" else "generic"}
        # 256 of the 1024 threads that a block may have: with more, a thread has to make do with few registers.
        return tvm.target.Target(
            {"kind": "cuda", "arch": self.arch, "max_num_threads": 256, "max_shared_memory_per_block": 48 << 10}, host
        )

    def identity(self) -> str:
        from sam3port.targets.nvcc import version

        return f"cuda {self.dtype} {self.arch} {platform.system()} {platform.machine()} {version()}"

    def check(self) -> None:
        from sam3port.targets.nvcc import architectures

        if not re.fullmatch(r"sm_\d+[af]?", self.arch):
            raise UsageError(f"{self.arch} is no architecture of NVIDIA's", "name it as nvcc does: sm_80, sm_90a")
        if self.missing_to_build():
            raise Sam3PortError("nvcc is not installed, or not on PATH", "the target cuda needs NVIDIA's CUDA toolkit")
        if (known := architectures()) and self.arch.rstrip("af") not in known:
            raise UsageError(f"this nvcc does not compile for {self.arch}", f"it does for {', '.join(known)}")

    def missing_to_build(self) -> list[str]:
        return [] if shutil.which("nvcc") else [_LACKING]

    def export(self, executable: Any, file: Path) -> None:
        """The library holds machine code. TVM would put CUDA C into it, to be compiled again whenever it is loaded."""
        from sam3port.targets.imports import pack_with
        from sam3port.targets.nvcc import compile_fatbin

        binaries = {}
        for module in device_modules(executable, "cuda"):
            source = str(module.inspect_source())
            binaries[source] = compile_fatbin(source, self.arch)
        executable.export_library(str(file), fpack_imports=pack_with(binaries))
