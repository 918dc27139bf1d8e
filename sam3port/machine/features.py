"""Which instructions the running CPU has, by LLVM's names. Imports nothing heavy: asked before anything is loaded."""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

X86: Final = {
    **{name: name for name in ("sse", "sse2", "ssse3", "sse4a", "avx", "avx2", "fma", "f16c", "fma4", "xop")},
    **{name: name for name in ("bmi2", "adx", "movbe", "popcnt", "gfni", "cmov", "cx8", "cx16", "aes", "tbm")},
    **{name: name for name in ("vaes", "vpclmulqdq", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")},
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "sha": "sha_ni",
    "avxvnni": "avx_vnni",
    "avxvnniint8": "avx_vnni_int8",
    "avxvnniint16": "avx_vnni_int16",
    "avxifma": "avx_ifma",
    "avxneconvert": "avx_ne_convert",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "amx-tile": "amx_tile",
    "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
}
"""LLVM's name -> Linux's flag in /proc/cpuinfo, of what a compiler may use for ordinary code.

What only an operating system or a program that asks for it would use (``mwaitx``, ``pku``, ``rdrnd``) stays out: a
virtual machine often hides it, and nothing that TVM generates needs it.
"""

ARM: Final = {
    "fp-armv8": "fp",
    "neon": "asimd",
    "aes": "aes",
    "sha2": "sha2",
    "sha3": "sha3",
    "crc": "crc32",
    "lse": "atomics",
    "rdm": "asimdrdm",
    "fullfp16": "asimdhp",
    "dotprod": "asimddp",
    "fp16fml": "asimdfhm",
    "jsconv": "jscvt",
    "complxnum": "fcma",
    "rcpc": "lrcpc",
    "rcpc-immo": "ilrcpc",
    "lse2": "uscat",
    "flagm": "flagm",
    "altnzcv": "flagm2",
    "fptoint": "frint",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "sme2": "sme2",
}
"""The same for aarch64."""

_MAC_ARM: Final = {
    "fp-armv8": "floatingpoint",
    "neon": "AdvSIMD",
    "aes": "arm.FEAT_AES",
    "sha2": "arm.FEAT_SHA256",
    "sha3": "arm.FEAT_SHA3",
    "crc": "armv8_crc32",
    "lse": "arm.FEAT_LSE",
    "lse2": "arm.FEAT_LSE2",
    "rdm": "arm.FEAT_RDM",
    "fullfp16": "arm.FEAT_FP16",
    "dotprod": "arm.FEAT_DotProd",
    "fp16fml": "arm.FEAT_FHM",
    "jsconv": "arm.FEAT_JSCVT",
    "complxnum": "arm.FEAT_FCMA",
    "rcpc": "arm.FEAT_LRCPC",
    "rcpc-immo": "arm.FEAT_LRCPC2",
    "flagm": "arm.FEAT_FlagM",
    "altnzcv": "arm.FEAT_FlagM2",
    "fptoint": "arm.FEAT_FRINTTS",
    "bf16": "arm.FEAT_BF16",
    "i8mm": "arm.FEAT_I8MM",
    "sme": "arm.FEAT_SME",
    "sme2": "arm.FEAT_SME2",
}
"""macOS: ``sysctl hw.optional.*``."""


def relevant(features: Iterable[str], machine: str) -> list[str]:
    """Those of LLVM's ``features`` of a CPU that generated code may use and `missing_features` can look for, sorted.

    Args:
        features: LLVM's names; tunings ("fast-lzcnt") may be among them.
        machine: as ``platform.machine()`` calls it.
    """
    return sorted(set(features) & set(_table(machine)))


def missing_features(required: Iterable[str]) -> list[str]:
    """Those of LLVM's features that the running CPU lacks, in the order given; empty when it has them all.

    Where the operating system does not say what the CPU has, nothing is reported as missing. A name that is not known
    for this kind of CPU is missing.
    """
    there = _present()
    return [] if there is None else [name for name in required if name not in there]


@functools.cache
def _present() -> frozenset[str] | None:
    """LLVM's names of what the CPU has, None where that cannot be found out."""
    machine, system = platform.machine(), platform.system()
    if system == "Linux":
        flags = _linux_flags()
        return None if flags is None else present(_table(machine), flags)
    if system == "Darwin" and _is_arm(machine):
        return frozenset(name for name, key in _MAC_ARM.items() if _sysctl(f"hw.optional.{key}"))
    return None


def present(table: Mapping[str, str], flags: Iterable[str]) -> frozenset[str]:
    """The names of ``table`` whose flag is among ``flags``."""
    known = set(flags)
    return frozenset(name for name, flag in table.items() if flag in known)


def _table(machine: str) -> Mapping[str, str]:
    return ARM if _is_arm(machine) else X86


def _is_arm(machine: str) -> bool:
    return machine.lower() in {"aarch64", "arm64"}


def _linux_flags() -> list[str] | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return value.split()
    return None


def _sysctl(name: str) -> bool:
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    library = ctypes.CDLL(None)
    return (
        library.sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0) == 0 and value.value != 0
    )
