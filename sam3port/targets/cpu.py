"""CPUs: this machine's, or another one's by name."""

from __future__ import annotations

import difflib
import hashlib
import platform
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sam3port.errors import UsageError
from sam3port.machine.cpus import usable_cpus
from sam3port.targets.target import BuildTarget

if TYPE_CHECKING:
    from sam3port.machine.rates import Rates
    from sam3port.tuning.record import TunedSchedule

NATIVE: Final = "native"
"""``--mcpu native``: this machine's CPU, for features to be added to it or taken away."""
_BFLOAT16: Final = "bfloat16"
_SYSTEMS: Final = ("linux", "macos", "darwin", "windows")
"""TVM's runtime is there for these."""
_CPU_OF_A_TRIPLE: Final = {"arm64-apple": "apple-m1", "aarch64-apple": "apple-m1", "x86_64": "x86-64"}
"""The least that such a machine has, by the beginning of its triple; elsewhere LLVM's ``generic``."""


class CpuTarget(BuildTarget):
    """LLVM for the CPU that compiles, with all its vector instructions, or for the one that options name."""

    name: ClassVar[str] = "cpu"
    summary: ClassVar[str] = "the CPU of this machine, or another one by name, by LLVM"
    device: ClassVar[str] = "cpu"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", _BFLOAT16)
    options: ClassVar[tuple[str, ...]] = ("mcpu", "triple")

    def target(self) -> Any:
        import tvm

        from sam3port.targets.host import assumed_target

        name, features = self._named()
        if name == NATIVE:
            return assumed_target(features)
        # How many cores that machine has is not known here; the kernels have a usual number.
        described: dict[str, Any] = {"kind": "llvm", "mcpu": name}
        if attributes := [*self.rates().attributes(), *features]:
            described["mattr"] = attributes
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
        rates, said = self.rates(), []
        if rates.problem:
            instead = f"the figures of {rates.source} are taken" if rates.source else "LLVM's choice of registers is"
            said.append(f"how fast this CPU's instructions are cannot be measured ({rates.problem}); {instead}")
        if self.dtype != _BFLOAT16:
            return said
        from sam3port.kernels.cpu.formats.bfloat16 import pairs_on
        from sam3port.kernels.cpu.formats.cpu import cpu_of

        target = self.target()
        if pairs_on(cpu_of(target)) is not None:
            return said
        why = f"the CPU {target.attrs['mcpu']} has no instruction that multiplies it"
        if rates.bfloat16_pays is False:
            why = (
                f"on the CPU {target.attrs['mcpu']} the instruction that multiplies it is slower than float32"
                f" ({rates.described()}, in 10^9 operations a second of one core; {rates.source})"
            )
        return [
            *said,
            f"bfloat16: {why}: weights take half the memory, products are computed in float32 and about as fast as"
            " there, and so is attention",
        ]

    def rates(self) -> Rates:
        """How fast the instructions of the CPU are, as far as that is known."""
        from sam3port.machine.processor import assumed
        from sam3port.machine.rates import KNOWN, Rates, rates_of

        name, _ = self._named()
        return rates_of(assumed()) if name == NATIVE else KNOWN.get(name, Rates())

    def about(self) -> dict[str, Any]:
        rates = self.rates().as_json()
        return {"rates": rates} if rates else {}

    def identity(self) -> str:
        from sam3port.machine.processor import assumed

        name, features = self._named()
        if name == NATIVE:
            processor = assumed()
            has = "unknown" if processor.features is None else " ".join(processor.offered)
            cpu = f"{processor.maker} {processor.model} {processor.brand} {has} on {usable_cpus()}"
            triple = f"{processor.system} {processor.machine}"
        else:
            # Without a triple the object code is for this machine's kind.
            cpu, triple = name, self.chosen.get("triple", f"{platform.system()} {platform.machine()}")
        return " ".join(["cpu", self.dtype, triple, cpu, *self.rates().attributes(), *features]) + self._schedules()

    def check(self) -> None:
        """LLVM would take its plainest CPU in place of an unknown one, and crash on an unknown architecture."""
        from sam3port.machine.processor import assumed

        if not self.chosen:
            assumed()  # there may be no such description; TVM, which takes seconds to load, has nothing to say
            return
        from tvm.target import Target, codegen

        name, features = self._named()
        triple = self.chosen.get("triple", codegen.llvm_get_system_triple())
        known_system = any(system in triple.partition("-")[2] for system in _SYSTEMS)
        if not known_system or not codegen.llvm_is_valid_cpu("generic", triple):
            raise UsageError(
                f"there is no code for the machine {triple}",
                "name architecture and system: x86_64-linux-gnu, aarch64-linux-gnu, arm64-apple-macos",
            )
        if name == NATIVE and "triple" in self.chosen:
            raise UsageError(f"--mcpu {NATIVE} is this machine's CPU, and {triple} is another machine", "name its CPU")
        if name == NATIVE:
            triple = str(self.target().attrs.get("mtriple", triple))
        known = sorted(map(str, codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))))
        if name != NATIVE and not codegen.llvm_is_valid_cpu(name, triple):
            raise UsageError(f"{triple} has no CPU named {name}", f"{_alike(name, known)}LLVM knows {', '.join(known)}")
        if features:
            _check_features(features, triple, known)

    def missing_to_run(self) -> list[str]:
        from sam3port.machine.features import missing_features, relevant
        from sam3port.machine.place import place, place_of
        from sam3port.machine.processor import assumed, running

        if not self.chosen and assumed() == running():
            return []  # it is built for what this processor has
        from tvm.target import codegen

        target = self.target()
        wanted, here = place_of(target), place("")
        if wanted != here:
            return [f"another machine: {' '.join(wanted)}, this is {' '.join(here)}"]
        features = relevant(map(str, codegen.llvm_get_cpu_features(target)), wanted[1])
        return [f"the instructions {', '.join(missing)}"] if (missing := missing_features(features)) else []

    def _tuned(self) -> tuple[TunedSchedule, ...]:
        """Only float32 was measured: in bfloat16 other sizes may be best."""
        return self.tuned if self.dtype == "float32" else ()

    def _schedules(self) -> str:
        """A digest of the measured schedules that may fit. What this machine's CPU is called only tvm knows."""
        name, _ = self._named()
        may_fit = [each for each in self._tuned() if name == NATIVE or each.machine.of_cpu(name)]
        if not may_fit:
            return ""
        content = repr([(each.workload, each.machine, sorted(each.schedule.items()), each.better) for each in may_fit])
        return f" tuned {hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def _named(self) -> tuple[str, tuple[str, ...]]:
        """LLVM's name of the CPU, or `NATIVE`, and the features that are added to it (``+``) or taken away (``-``)."""
        name, *features = self.chosen.get("mcpu", "").split(",")
        if not name:
            triple = self.chosen.get("triple")
            usual = (cpu for start, cpu in _CPU_OF_A_TRIPLE.items() if (triple or "").startswith(start))
            name = NATIVE if triple is None else next(usual, "generic")
        return name, tuple(features)


def _check_features(features: tuple[str, ...], triple: str, cpus: list[str]) -> None:
    """LLVM would only print that it does not know one, and go on."""
    from tvm.target import Target, codegen

    if malformed := [feature for feature in features if feature[:1] not in {"+", "-"}]:
        raise UsageError(
            f"--mcpu: {', '.join(malformed) or 'an empty word'} is no feature to be added or taken away",
            "write a CPU, then features with + or -: --mcpu sapphirerapids,-amx-tile",
        )
    targets = (Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu}) for cpu in cpus)
    known = {str(name) for target in targets for name in codegen.llvm_get_cpu_features(target)}
    for feature in features:
        if feature[1:] not in known:
            alike = _alike(feature[1:], sorted(known))
            raise UsageError(
                f"{triple} has no feature named {feature[1:]}", f"{alike}LLVM knows {', '.join(sorted(known))}"
            )


def _alike(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(close)}? " if close else ""
