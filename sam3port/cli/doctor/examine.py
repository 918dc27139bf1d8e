"""The findings of ``sam3port doctor``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sam3port import children
from sam3port.errors import Sam3PortError
from sam3port.machine.cpus import usable_cpus
from sam3port.machine.features import is_arm
from sam3port.machine.names import llvm_name
from sam3port.machine.packages import BUILD, installed, missing, remedy, requirements
from sam3port.machine.processor import VARIABLE, Processor, assumed

_ASK_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    subject: str
    found: str
    ok: bool
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TargetFinding:
    """What a target can do here, and what it lacks."""

    target: str
    can_build: bool
    can_run: bool
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that `sam3port doctor` says."""

    machine: list[Finding]
    packages: list[Finding]
    """What running an artifact needs."""
    build_packages: list[Finding]
    """What building and verifying one, and upstream itself, need besides."""
    upstream: list[Finding]
    targets: list[TargetFinding]

    @property
    def runs(self) -> bool:
        """Whether artifacts for this CPU can be run; a GPU is nobody's duty."""
        return self._cpu.can_run and all(finding.ok for finding in (*self.machine, *self.packages))

    @property
    def builds(self) -> bool:
        """Whether artifacts can be built and verified besides, from upstream's source."""
        return self.runs and self._cpu.can_build and all(f.ok for f in (*self.build_packages, *self.upstream))

    @property
    def ok(self) -> bool:
        """Whether what this machine is for works: where torch is not installed, that is only to run artifacts."""
        return self.builds if _is_to_build() else self.runs

    @property
    def _cpu(self) -> TargetFinding:
        return next(target for target in self.targets if target.target == "cpu")

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "runs": self.runs, "builds": self.builds, **asdict(self)}


def examine(upstream: Path | None = None) -> Examination:
    """Looks at everything; a broken part is a finding, never an exception."""
    return Examination(
        list(_machine()), list(_packages()), list(_build_packages()), list(_upstream(upstream)), _targets()
    )


def _is_to_build() -> bool:
    """Most of what the extra adds may come with other packages; torch is there for building."""
    return installed("torch") is not None


def _machine() -> Iterator[Finding]:
    yield Finding("system", f"{platform.system()} {platform.release()}, {platform.machine()}", True)
    right_python = sys.version_info >= (3, 11)
    yield Finding("python", f"{platform.python_version()} ({sys.executable})", right_python, "use Python 3.11 or newer")
    yield from _processor()
    yield Finding("cpus", f"{usable_cpus()} usable of {os.cpu_count()}", True)
    memory, enough = _memory()
    yield Finding("memory", memory, enough, "the full model needs about 8 GiB")
    compiler = _first_program("cc", "clang", "gcc", "cl")
    yield Finding(
        "compiler",
        compiler or "none (needed to build, and to open an artifact that comes as object code)",
        compiler is not None or not _is_to_build(),
        "install a C compiler; TVM links libraries with it",
    )
    driver = shutil.which("nvidia-smi")
    yield Finding("CUDA driver", driver or "none (not needed for the target cpu)", True)
    yield Finding("nvcc", shutil.which("nvcc") or "none (the target cuda needs it)", True)


def _processor() -> Iterator[Finding]:
    """Which one, and how fast its instructions were measured to be, if they were."""
    from sam3port.machine.rates import kept_rates

    try:
        processor = assumed()
    except Sam3PortError as error:
        yield Finding("processor", error.problem, False, error.remedy)
        return
    described = f"{processor.brand or 'without a name'}, as {llvm_name(processor)}"
    described += f" (of the file that {VARIABLE} names)" if os.environ.get(VARIABLE) else ""
    yield Finding("processor", described, True)
    if processor.features is not None:
        has = [name for name in _telling(processor) if name in processor.features]
        lacks = [name for name in _telling(processor) if name not in processor.features]
        yield Finding("instructions", f"{', '.join(has) or 'none'}; not {', '.join(lacks) or 'one is missing'}", True)
    if rates := kept_rates(processor):
        yield Finding("a core's rates", f"{rates.described()}, in 10^9 operations a second", True)


def _telling(processor: Processor) -> tuple[str, ...]:
    """LLVM's names of the instructions that speed depends on."""
    if is_arm(processor.machine):
        return ("neon", "dotprod", "bf16", "i8mm", "sve")
    return ("avx", "fma", "avx2", "avxvnni", "avx512f", "avx512vl", "avx512vnni", "avx512bf16", "amx-tile")


def _memory() -> tuple[str, bool]:
    try:
        import psutil

        total = psutil.virtual_memory().total / 2**30
    except ImportError:
        return "unknown (psutil is missing)", True
    return f"{total:.1f} GiB", total >= 7.5


def _first_program(*names: str) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


def _packages(extra: str = "") -> Iterator[Finding]:
    """Every package that is asked for, with the version that is installed and the one that is wanted."""
    for requirement in requirements(extra):
        wanted = str(requirement.specifier) or "any version"
        there = installed(requirement.name)
        right = there is not None and requirement.specifier.contains(there, prereleases=True)
        found = "not installed" if there is None else f"{there} (wanted: {wanted})"
        yield Finding(requirement.name, found, right, f'pip install "{requirement}"')


def _build_packages() -> Iterator[Finding]:
    if _is_to_build():
        yield from _packages(BUILD)
    else:
        yield Finding(f"sam3port[{BUILD}]", f"not installed: {', '.join(missing(BUILD))}", False, remedy(BUILD))


def _upstream(explicit: Path | None) -> Iterator[Finding]:
    from sam3port.patching.activate import activation_file, is_active
    from sam3port.upstream.source import locate
    from sam3port.upstream.verify import verify

    try:
        located = locate(explicit)
        yield Finding("source", located.describe(), True)
        proof = verify(located)
        wrong = ", ".join([*proof.changed, *proof.missing, *proof.extra][:3])
        remedy = "sam3port upstream fetch"
        yield Finding(
            "proof",
            "every file as pinned" if proof.ok else f"differs: {wrong}",
            proof.ok or not located.pinned,
            remedy,
        )
    except Sam3PortError as error:
        yield Finding("source", error.problem, False, error.remedy)
    yield Finding(
        "activated",
        str(activation_file()) if is_active() else "no (`import sam3` is not patched by itself)",
        True,
    )
    if (theirs := installed("sam3")) is not None:
        yield Finding("pip's sam3", f"{theirs}; not used: the hook comes before it", True)


def _targets() -> list[TargetFinding]:
    """Asks TVM in an interpreter of its own: a broken library must not take doctor down."""
    from sam3port.plugins import load_plugins

    said = _ask("sam3port.cli.doctor.look")
    if said is None:
        broken = ["TVM cannot be imported: pip install 'apache-tvm>=0.27,<0.28'"]
        return [TargetFinding(name, False, False, broken) for name in load_plugins().targets()]
    found = json.loads(said)
    for each in found:
        if each["target"] == "cpu" and not each["to_run"]:
            each["to_run"] = _kernel_fails()
    packages = [] if _is_to_build() else [f"the packages of sam3port[{BUILD}]"]
    return [
        TargetFinding(
            each["target"],
            not packages and not each["to_build"],
            not each["to_run"],
            [f"{what}, to build" for what in (*packages, *each["to_build"])]
            + [f"{what}, to run" for what in each["to_run"]],
        )
        for each in found
    ]


def _kernel_fails() -> list[str]:
    """What happens to a kernel that is compiled for this CPU, and run; empty where it computes what it should."""
    try:
        process = children.run("sam3port.targets.try_kernel", timeout=_ASK_S)
    except (children.CannotStart, subprocess.TimeoutExpired) as error:
        return [f"a compiled kernel that ends ({error})"]
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return [f"a CPU that runs what is compiled for it (a kernel was ended by {name})"]
    said = process.stdout.strip().rpartition("\n")[2]
    if process.returncode == 0 and said == "right":
        return []
    return [f"a compiled kernel that is right ({said or 'it failed'})"]


def _ask(module: str) -> str | None:
    try:
        process = children.run(module, timeout=_ASK_S)
    except (children.CannotStart, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip().rpartition("\n")[2] if process.returncode == 0 else None
