"""The CPU of this machine."""

from __future__ import annotations

from typing import Any, ClassVar

from sam3port.targets.target import BuildTarget


class CpuTarget(BuildTarget):
    """LLVM for the CPU that compiles, with all its vector instructions."""

    name: ClassVar[str] = "cpu"
    summary: ClassVar[str] = "the CPU of this machine, by LLVM"
    device: ClassVar[str] = "cpu"

    def target(self) -> Any:
        import tvm
        from tvm.target import codegen

        from sam3port.port.runner import usable_cpus

        return tvm.target.Target(
            {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": usable_cpus()}
        )

    def optimise(self, module: Any) -> Any:
        from sam3port.kernels.cpu.pipeline import optimise

        return optimise(module, self.target())
