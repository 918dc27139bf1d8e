"""The processor as it is: which one, and which instructions processor, hypervisor and system together offer."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sam3port.errors import UsageError
from sam3port.machine import cpuid
from sam3port.machine.features import (
    MAC_ARM_KEYS,
    MAC_INTEL_KEYS,
    is_arm,
    known_features,
    of_hwcap,
    of_linux_flags,
    of_mac,
)

VARIABLE: Final = "SAM3PORT_CPUINFO"
"""Names a file with another machine's ``/proc/cpuinfo``, or ``sysctl hw machdep.cpu`` of a Mac: builds are for that
processor then, and what this one lacks is still refused here."""

_CPUINFO: Final = Path("/proc/cpuinfo")
_AT_HWCAP, _AT_HWCAP2 = 16, 26


@dataclass(frozen=True, slots=True)
class Processor:
    """One of the machine's (equal) processors."""

    system: str
    """As ``platform.system()``: Linux, Darwin, Windows."""
    machine: str
    """As ``platform.machine()``: x86_64, aarch64, arm64."""
    brand: str
    """For people; empty where nothing says it."""
    maker: str
    """x86: ``GenuineIntel`` and the like. ARM: the implementer's number as ``0x41``. Empty where nothing says it."""
    model: tuple[int, ...]
    """x86: family and model. ARM: the part's number, on a Mac ``hw.cpufamily``. Empty where nothing says it."""
    features: frozenset[str] | None
    """LLVM's names, of `sam3port.machine.features.known_features`; None where nothing says it."""

    @property
    def offered(self) -> list[str]:
        """What it has, as LLVM is told: ``+avx2``, sorted."""
        return [f"+{name}" for name in sorted(self.features or ())]

    @property
    def lacking(self) -> list[str]:
        """What it has not of what processors of its kind can have: ``-avx512f``, sorted."""
        known = known_features(self.machine) if self.features is not None else ()
        return [f"-{name}" for name in sorted(set(known) - (self.features or frozenset()))]


@functools.cache
def running() -> Processor:
    """The one that runs this."""
    system, machine = platform.system(), platform.machine()
    machine = {"AMD64": "x86_64", "ARM64": "arm64"}.get(machine, machine)
    if system == "Linux":
        return _with_what_linux_says(system, machine)
    if system == "Darwin":
        return _of_sysctl({key: value for key in _MAC_KEYS if (value := _sysctl(key)) is not None}, machine)
    return _with_cpuid(Processor(system, machine, platform.processor(), "", (), None))


def assumed() -> Processor:
    """The one to build for: of the file that SAM3PORT_CPUINFO names, or the running one.

    Raises:
        UsageError: there is no such file, or it describes no processor.
    """
    named = os.environ.get(VARIABLE)
    return running() if not named else _read(Path(named))


@functools.cache
def _read(file: Path) -> Processor:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{VARIABLE} names {file}, which cannot be read: {error.strerror}") from None
    found = described(text)
    if found is None:
        raise UsageError(
            f"{VARIABLE} names {file}, which describes no processor",
            "give a copy of /proc/cpuinfo, or what `sysctl hw machdep.cpu` prints on a Mac",
        )
    return found


def described(text: str) -> Processor | None:
    """The processor that a ``/proc/cpuinfo``, or the output of ``sysctl hw machdep.cpu``, describes; None: none.

    Args:
        text: of several processors the first counts. Lines that begin with ``#`` do not.
    """
    values = _values(text)
    if any(key.startswith(("hw.optional.", "machdep.cpu.")) for key in values):
        arm = any(key.startswith(("hw.optional.arm", "hw.optional.neon")) for key in values)
        return _of_sysctl(values, "arm64" if arm else "x86_64")
    if "flags" in values:
        return _of_cpuinfo(values, "Linux", "x86_64")
    return _of_cpuinfo(values, "Linux", "aarch64") if "Features" in values else None


def _values(text: str) -> dict[str, str]:
    """The lines ``key: value``, of a key that comes again the first; ``#`` begins a remark."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            values.setdefault(key.strip(), value.strip())
    return values


def _of_cpuinfo(values: Mapping[str, str], system: str, machine: str) -> Processor:
    if is_arm(machine):
        features = of_linux_flags(values["Features"].split(), machine) if "Features" in values else None
        numbers = _numbers(values, "CPU part")
        return Processor(
            system, machine, values.get("model name", ""), values.get("CPU implementer", ""), numbers, features
        )
    features = of_linux_flags(values["flags"].split(), machine) if "flags" in values else None
    numbers = _numbers(values, "cpu family", "model")
    return Processor(system, machine, values.get("model name", ""), values.get("vendor_id", ""), numbers, features)


def _numbers(values: Mapping[str, str], *keys: str) -> tuple[int, ...]:
    try:
        return tuple(int(values[key], 0) for key in keys)
    except (KeyError, ValueError):
        return ()


def _with_what_linux_says(system: str, machine: str) -> Processor:
    try:
        values = _values(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        values = {}
    if not is_arm(machine):
        return _with_cpuid(_of_cpuinfo(values, system, machine))
    processor = _of_cpuinfo(values, system, machine)
    # Under an emulator /proc/cpuinfo is the other machine's; the auxiliary vector is the emulator's own.
    asked = _auxiliary_vector()
    features = processor.features if asked is None else of_hwcap(*asked)
    return replace(processor, features=features)


def _with_cpuid(processor: Processor) -> Processor:
    """What the processor says itself. An older kernel's list lacks what is newer than the kernel, and under an
    emulator it is about the machine below."""
    said = cpuid.identify()
    if said is None:
        return processor
    brand = said.brand or processor.brand
    return replace(processor, brand=brand, maker=said.maker, model=(said.family, said.model), features=said.features)


def _auxiliary_vector() -> tuple[int, int] | None:
    try:
        getauxval = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):
        return None
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    hwcap = int(getauxval(_AT_HWCAP))
    return (hwcap, int(getauxval(_AT_HWCAP2))) if hwcap else None


_MAC_KEYS: Final = (
    *("machdep.cpu.brand_string", "machdep.cpu.vendor", "machdep.cpu.family", "machdep.cpu.model", "hw.cpufamily"),
    *MAC_ARM_KEYS,
    *MAC_INTEL_KEYS,
)


def _of_sysctl(values: Mapping[str, str], machine: str) -> Processor:
    told: Iterable[str] = MAC_ARM_KEYS if is_arm(machine) else MAC_INTEL_KEYS
    features = of_mac(values, machine) if any(key in values for key in told) else None
    brand = values.get("machdep.cpu.brand_string", "")
    maker = "Apple" if is_arm(machine) else values.get("machdep.cpu.vendor", "GenuineIntel")
    if is_arm(machine):
        # A number that the system prints with a sign.
        numbers = tuple(number & 0xFFFFFFFF for number in _numbers(values, "hw.cpufamily"))
    else:
        numbers = _numbers(values, "machdep.cpu.family", "machdep.cpu.model")
    return Processor("Darwin", machine, brand, maker, numbers, features)


def _sysctl(name: str) -> str | None:
    """A value of macOS: a number, or text; None where there is none of that name."""
    library, size = ctypes.CDLL(None), ctypes.c_size_t(0)
    if library.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0):
        return None
    buffer = ctypes.create_string_buffer(size.value)
    if library.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0):
        return None
    texts = ("machdep.cpu.brand_string", "machdep.cpu.vendor", *MAC_INTEL_KEYS)
    return buffer.value.decode("utf-8", "replace") if name in texts else str(int.from_bytes(buffer.raw, "little"))
