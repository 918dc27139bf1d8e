"""The CPU of this machine."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any, ClassVar

from sam3port.machine.cpus import usable_cpus
from sam3port.targets.target import BuildTarget


class CpuTarget(BuildTarget):
    """LLVM for the CPU that compiles, with all its vector instructions."""

    name: ClassVar[str] = "cpu"
    summary: ClassVar[str] = "the CPU of this machine, by LLVM"
    device: ClassVar[str] = "cpu"

    def target(self) -> Any:
        import tvm
        from tvm.target import codegen

        return tvm.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": usable_cpus()})

    def optimise(self, module: Any) -> Any:
        from sam3port.kernels.cpu.pipeline import optimise

        return optimise(module, self.target())

    def identity(self) -> str:
        return f"cpu {self.dtype} {platform.system()} {platform.machine()} {_model()} on {usable_cpus()}"


def _model() -> str:
    """What the operating system says about the CPU: LLVM picks its instructions by that."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:16]
