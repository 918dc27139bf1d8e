"""CPUs: this machine's, or another one's by name."""

from __future__ import annotations

import difflib
import hashlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sam3port.errors import UsageError
from sam3port.machine.cpus import usable_cpus
from sam3port.targets.target import BuildTarget

if TYPE_CHECKING:
    from sam3port.tuning.record import TunedSchedule

_SYSTEMS: Final = ("linux", "macos", "darwin", "windows")
"""TVM's runtime is there for these."""
_CPU_OF_A_TRIPLE: Final = {"arm64-apple": "apple-m1", "aarch64-apple": "apple-m1", "x86_64": "x86-64"}
"""The least that such a machine has, by the beginning of its triple; elsewhere LLVM's ``generic``."""


class CpuTarget(BuildTarget):
    """LLVM for the CPU that compiles, with all its vector instructions, or for the one that options name."""

    name: ClassVar[str] = "cpu"
    summary: ClassVar[str] = "the CPU of this machine, or another one by name, by LLVM"
    device: ClassVar[str] = "cpu"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    options: ClassVar[tuple[str, ...]] = ("mcpu", "triple")

    def target(self) -> Any:
        import tvm
        from tvm.target import codegen

        if not self.chosen:
            cpu = codegen.llvm_get_system_cpu()
            return tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": usable_cpus()})
        # How many cores that machine has is not known here; the kernels have a usual number.
        described = {"kind": "llvm", "mcpu": self._cpu()}
        if "triple" in self.chosen:
            described["mtriple"] = self.chosen["triple"]
        return tvm.target.Target(described)

    def optimise(self, module: Any) -> Any:
        from sam3port.kernels.cpu.pipeline import optimise
        from sam3port.tuning.record import Machine
        from sam3port.tuning.sources import fitting, for_kernels

        target = self.target()
        tuned = for_kernels(fitting(self._tuned(), Machine.of(target)))
        return optimise(module, target, tuned=tuned, dtype=self.dtype)

    def announcements(self) -> list[str]:
        if self.dtype != "bfloat16":
            return []
        from sam3port.kernels.cpu.vector_unit import vector_unit

        target = self.target()
        if vector_unit(target, self.dtype).dot:
            return []
        return [
            f"bfloat16: the CPU {target.attrs['mcpu']} has no instruction that multiplies it: weights take half the"
            " memory, products are as fast as in float32, and attention computes in float32"
        ]

    def identity(self) -> str:
        if self.chosen:
            # Without a triple the object code is for this machine's kind.
            triple = self.chosen.get("triple", f"{platform.system()} {platform.machine()}")
            return f"cpu {self.dtype} {triple} {self._cpu()}{self._schedules()}"
        described = f"{platform.system()} {platform.machine()} {_model()} on {usable_cpus()}"
        return f"cpu {self.dtype} {described}{self._schedules()}"

    def check(self) -> None:
        """LLVM would take its plainest CPU in place of an unknown one, and crash on an unknown architecture."""
        if not self.chosen:
            return
        from tvm.target import Target, codegen

        triple = self.chosen.get("triple", codegen.llvm_get_system_triple())
        known_system = any(system in triple.partition("-")[2] for system in _SYSTEMS)
        if not known_system or not codegen.llvm_is_valid_cpu("generic", triple):
            raise UsageError(
                f"there is no code for the machine {triple}",
                "name architecture and system: x86_64-linux-gnu, aarch64-linux-gnu, arm64-apple-macos",
            )
        cpu = self._cpu()
        if not codegen.llvm_is_valid_cpu(cpu, triple):
            known = sorted(map(str, codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))))
            close = difflib.get_close_matches(cpu, known, n=3)
            alike = f"did you mean {' or '.join(close)}? " if close else ""
            raise UsageError(f"{triple} has no CPU named {cpu}", f"{alike}LLVM knows {', '.join(known)}")

    def missing_to_run(self) -> list[str]:
        from sam3port.machine.features import missing_features, relevant
        from sam3port.machine.place import place

        if not self.chosen:
            return []
        from tvm.target import codegen

        wanted, here = place(self.chosen.get("triple", "")), place("")
        if wanted != here:
            return [f"another machine: {' '.join(wanted)}, this is {' '.join(here)}"]
        features = relevant(map(str, codegen.llvm_get_cpu_features(self.target())), wanted[1])
        return [f"the instructions {', '.join(missing)}"] if (missing := missing_features(features)) else []

    def _tuned(self) -> tuple[TunedSchedule, ...]:
        """Only float32 was measured: in bfloat16 other sizes may be best."""
        return self.tuned if self.dtype == "float32" else ()

    def _schedules(self) -> str:
        """A digest of the measured schedules that may fit. What this machine's CPU is called only tvm knows."""
        may_fit = [each for each in self._tuned() if not self.chosen or each.machine.of_cpu(self._cpu())]
        if not may_fit:
            return ""
        content = repr([(each.workload, each.machine, sorted(each.schedule.items()), each.better) for each in may_fit])
        return f" tuned {hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def _cpu(self) -> str:
        if "mcpu" in self.chosen:
            return self.chosen["mcpu"]
        triple = self.chosen["triple"]
        return next((cpu for start, cpu in _CPU_OF_A_TRIPLE.items() if triple.startswith(start)), "generic")


def _model() -> str:
    """What the operating system says about the CPU: LLVM picks its instructions by that."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:16]
