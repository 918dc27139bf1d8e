"""Names of instructions: LLVM's, and what each operating system calls them. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sam3port.machine.cpuid import BITS

_APX: Final = ("egpr", "push2pop2", "ppx", "ndd", "ccmp", "nf", "zu")
_X86_IN_LINUX: Final = {
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "sha": "sha_ni",
    "sahf": "lahf_lm",
    "prfchw": "3dnowprefetch",
    "avxvnni": "avx_vnni",
    "avxvnniint8": "avx_vnni_int8",
    "avxvnniint16": "avx_vnni_int16",
    "avxifma": "avx_ifma",
    "avxneconvert": "avx_ne_convert",
    "avx10.1": "avx10",
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
    "amx-fp16": "amx_fp16",
    "amx-complex": "amx_complex",
    **dict.fromkeys(_APX, "apx"),
}
_NOT_LOOKED_FOR: Final = {"avx10.2": "avx10_2"}
"""No bit says that it is there, but a version number of what no machine at hand has: taken for lacking."""
X86: Final = {name: _X86_IN_LINUX.get(name, name) for name in BITS} | _NOT_LOOKED_FOR
"""LLVM's name -> Linux's flag in /proc/cpuinfo, of what a compiler may be told to use.

What only an operating system or a program that asks for it would use (``mwaitx``, ``pku``, ``rdrnd``) stays out: a
virtual machine often hides it, and nothing that TVM generates needs it.
"""

_MAC_INTEL: Final = {
    "sse3": "SSE3",
    "sse4.1": "SSE4.1",
    "sse4.2": "SSE4.2",
    "avx": "AVX1.0",
    "pclmul": "PCLMULQDQ",
    "bmi": "BMI1",
    "prfchw": "PREFETCHW",
    "sahf": "LAHF",
    "avx512vnni": "AVX512VNNI",
}
"""macOS on Intel: of ``sysctl machdep.cpu.features``, ``.leaf7_features`` and ``.extfeatures``; else in capitals."""

ARM: Final = {
    "fp-armv8": "fp",
    "neon": "asimd",
    "aes": "aes",
    "sha2": "sha2",
    "sha3": "sha3",
    "sm4": "sm4",
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
    "rcpc3": "lrcpc3",
    "lse2": "uscat",
    "flagm": "flagm",
    "altnzcv": "flagm2",
    "fptoint": "frint",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "cssc": "cssc",
    "mops": "mops",
    "hbc": "hbc",
    "lut": "lut",
    "faminmax": "faminmax",
    "sve": "sve",
    "sve2": "sve2",
    "sve-aes": "sveaes",
    "sve-sha3": "svesha3",
    "sve-sm4": "svesm4",
    "sve-bitperm": "svebitperm",
    "sve-b16b16": "sveb16b16",
    "sme": "sme",
    "sme2": "sme2",
}
"""The same for aarch64; the flags are those that the kernel's HWCAP bits are called by."""

_HWCAP: Final = (
    *("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid"),
    *("asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512", "sve", "asimdfhm"),
    *("dit", "uscat", "ilrcpc", "flagm", "ssbs", "sb", "paca", "pacg"),
)
_HWCAP2: Final = (
    *("dcpodp", "sve2", "sveaes", "svepmull", "svebitperm", "svesha3", "svesm4", "flagm2", "frint", "svei8mm"),
    *("svef32mm", "svef64mm", "svebf16", "i8mm", "bf16", "dgh", "rng", "bti", "mte", "ecv", "afp", "rpres", "mte3"),
    *("sme", "smei16i64", "smef64f64", "smei8i32", "smef16f32", "smeb16f32", "smef32f32", "smefa64", "wfxt", "ebf16"),
    *("sveebf16", "cssc", "rprfm", "sve2p1", "sme2", "sme2p1", "smei16i32", "smebi32i32", "smeb16b16", "smef16f16"),
    *("mops", "hbc", "sveb16b16", "lrcpc3", "lse128", "fpmr", "lut", "faminmax"),
)
"""By number of the bit: the Linux kernel's documentation, arch/arm64/elf_hwcaps."""

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
    "cssc": "arm.FEAT_CSSC",
    "hbc": "arm.FEAT_HBC",
    "mops": "arm.FEAT_MOPS",
    "sme": "arm.FEAT_SME",
    "sme2": "arm.FEAT_SME2",
}
"""macOS on Apple's own processors: ``sysctl hw.optional.*``."""
_OF_EVERY_MAC: Final = frozenset({"fp-armv8", "neon"})
"""Of every 64-bit ARM that macOS runs on; newer systems no longer say so."""
_OF_THE_FIRST_MAC: Final = _OF_EVERY_MAC | {
    *("aes", "sha2", "sha3", "crc", "lse", "lse2", "rdm", "fullfp16", "dotprod", "fp16fml", "jsconv", "complxnum"),
    *("rcpc", "rcpc-immo", "flagm", "altnzcv", "fptoint"),
}
"""Of Apple's M1, which macOS 11 has no names for."""
MAC_ARM_KEYS: Final = tuple(f"hw.optional.{key}" for key in _MAC_ARM.values())
MAC_INTEL_KEYS: Final = tuple(f"machdep.cpu.{key}" for key in ("features", "leaf7_features", "extfeatures"))

_ONLY_WHEN_ASKED: Final = frozenset(
    {"aes", "sha", "sha2", "sha3", "sha512", "sm3", "sm4", "vaes", "sve-aes", "sve-sha3", "sve-sm4"}
) | {name for name in BITS if name.startswith("amx-")}
"""Nothing but a program that names them uses these, and no kernel of ours does. Code for a processor with them runs on
one without."""


def is_arm(machine: str) -> bool:
    """Whether ``platform.machine()`` names 64-bit ARM."""
    return machine.lower() in {"aarch64", "arm64"}


def known_features(machine: str) -> Mapping[str, str]:
    """`X86` or `ARM`."""
    return ARM if is_arm(machine) else X86


def relevant(features: Iterable[str], machine: str) -> list[str]:
    """Those of LLVM's ``features`` of a CPU that generated code may use and that can be looked for, sorted.

    Args:
        features: LLVM's names; tunings ("fast-lzcnt") may be among them.
        machine: as ``platform.machine()`` calls it.
    """
    return sorted(set(features) & set(known_features(machine)) - _ONLY_WHEN_ASKED)


def missing_features(required: Iterable[str]) -> list[str]:
    """Those of LLVM's features that the running CPU lacks, in the order given; empty when it has them all.

    Where neither the processor nor the system can be asked what the CPU has, nothing is reported as missing. A name
    that is not known for this kind of CPU is missing.
    """
    from sam3port.machine.processor import running

    there = running().features
    return [] if there is None else [name for name in required if name not in there]


def of_linux_flags(flags: Iterable[str], machine: str) -> frozenset[str]:
    """LLVM's names of what ``/proc/cpuinfo`` lists in ``flags`` (x86) or ``Features`` (ARM)."""
    known = set(flags)
    return frozenset(name for name, flag in known_features(machine).items() if flag in known)


def of_hwcap(hwcap: int, hwcap2: int) -> frozenset[str]:
    """LLVM's names of what the kernel's auxiliary vector says on aarch64 (``AT_HWCAP``, ``AT_HWCAP2``)."""
    flags = [
        name
        for names, bits in ((_HWCAP, hwcap), (_HWCAP2, hwcap2))
        for number, name in enumerate(names)
        if bits >> number & 1
    ]
    return of_linux_flags(flags, "aarch64")


def of_mac(values: Mapping[str, str], machine: str) -> frozenset[str]:
    """LLVM's names of what ``sysctl`` says on a Mac.

    Args:
        values: of `MAC_ARM_KEYS` or `MAC_INTEL_KEYS`, those that are there.
        machine: ``arm64`` or ``x86_64``.
    """
    if is_arm(machine):
        if not any(key.startswith("hw.optional.arm.FEAT_") for key in values):
            return _OF_THE_FIRST_MAC
        told = {
            name for name, key in _MAC_ARM.items() if values.get(f"hw.optional.{key}", "0").strip() not in {"", "0"}
        }
        return _OF_EVERY_MAC | told
    words = {word for key in MAC_INTEL_KEYS for word in values.get(key, "").upper().split()}

    def named(name: str) -> bool:
        plain = _MAC_INTEL.get(name, re.sub(r"[._-]", "", name).upper())
        return plain in {re.sub(r"[_-]", "", word) if word != "AVX1.0" else word for word in words} or plain in words

    return frozenset(name for name in X86 if named(name))
