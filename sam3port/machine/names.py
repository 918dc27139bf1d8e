"""LLVM's names of processors, by the numbers that these give themselves.

LLVM itself names only the processor that it runs on; this is for descriptions of others. A name chooses what code is
tuned for, never what it may use: the processor's own list of features does that.
"""

from __future__ import annotations

from typing import Final

from sam3port.machine.features import is_arm
from sam3port.machine.processor import Processor

_INTEL: Final = {
    **dict.fromkeys((0x1A, 0x1E, 0x1F, 0x2E), "nehalem"),
    **dict.fromkeys((0x25, 0x2C, 0x2F), "westmere"),
    **dict.fromkeys((0x2A, 0x2D), "sandybridge"),
    **dict.fromkeys((0x3A, 0x3E), "ivybridge"),
    **dict.fromkeys((0x3C, 0x3F, 0x45, 0x46), "haswell"),
    **dict.fromkeys((0x3D, 0x47, 0x4F, 0x56), "broadwell"),
    **dict.fromkeys((0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6), "skylake"),
    0x55: "skylake-avx512",
    **dict.fromkeys((0x6A, 0x6C), "icelake-server"),
    **dict.fromkeys((0x7D, 0x7E), "icelake-client"),
    **dict.fromkeys((0x8C, 0x8D), "tigerlake"),
    0xA7: "rocketlake",
    **dict.fromkeys((0x97, 0x9A), "alderlake"),
    0xBE: "gracemont",
    **dict.fromkeys((0xB7, 0xBA, 0xBF), "raptorlake"),
    **dict.fromkeys((0xAA, 0xAC), "meteorlake"),
    **dict.fromkeys((0xC5, 0xB5), "arrowlake"),
    0xC6: "arrowlake-s",
    0xBD: "lunarlake",
    0xCC: "pantherlake",
    0x8F: "sapphirerapids",
    0xCF: "emeraldrapids",
    0xAD: "graniterapids",
    0xAE: "graniterapids-d",
    0xAF: "sierraforest",
    0xB6: "grandridge",
    0xDD: "clearwaterforest",
    **dict.fromkeys((0x0F, 0x16), "core2"),
    **dict.fromkeys((0x17, 0x1D), "penryn"),
    **dict.fromkeys((0x1C, 0x26, 0x27, 0x35, 0x36), "bonnell"),
    **dict.fromkeys((0x37, 0x4A, 0x4D, 0x5A, 0x5D, 0x4C), "silvermont"),
    **dict.fromkeys((0x5C, 0x5F), "goldmont"),
    0x7A: "goldmont-plus",
    **dict.fromkeys((0x86, 0x8A, 0x96, 0x9C), "tremont"),
}
"""Family 6, by model; Intel's Software Developer's Manual, volume 4, table 2-1."""

_CASCADE_LAKE: Final = "avx512vnni"
_COOPER_LAKE: Final = "avx512bf16"
"""Model 0x55 is three processors, told apart by what they have."""

_ARM: Final = {
    0xD04: "cortex-a35",
    0xD03: "cortex-a53",
    0xD05: "cortex-a55",
    0xD46: "cortex-a510",
    0xD80: "cortex-a520",
    0xD07: "cortex-a57",
    0xD08: "cortex-a72",
    0xD09: "cortex-a73",
    0xD0A: "cortex-a75",
    0xD0B: "cortex-a76",
    0xD0D: "cortex-a77",
    0xD41: "cortex-a78",
    0xD4B: "cortex-a78c",
    0xD47: "cortex-a710",
    0xD4D: "cortex-a715",
    0xD81: "cortex-a720",
    0xD87: "cortex-a725",
    0xD44: "cortex-x1",
    0xD4C: "cortex-x1c",
    0xD48: "cortex-x2",
    0xD4E: "cortex-x3",
    0xD82: "cortex-x4",
    0xD85: "cortex-x925",
    0xD4A: "neoverse-e1",
    0xD0C: "neoverse-n1",
    0xD49: "neoverse-n2",
    0xD8E: "neoverse-n3",
    0xD40: "neoverse-v1",
    0xD4F: "neoverse-v2",
    0xD84: "neoverse-v3",
    0xD83: "neoverse-v3ae",
}
_APPLE_LINUX: Final = {
    **dict.fromkeys((*range(0x20, 0x26), 0x28, 0x29), "apple-m1"),
    **dict.fromkeys((*range(0x30, 0x36), 0x38, 0x39), "apple-m2"),
    **dict.fromkeys((0x48, 0x49), "apple-m3"),
}
_PARTS: Final[dict[int, dict[int, str]]] = {
    0x41: _ARM,
    0x46: {0x001: "a64fx", 0x003: "fujitsu-monaka"},
    0x48: {0xD01: "tsv110"},
    0x4E: {0x004: "carmel", 0x010: "olympus"},
    0x51: {
        0x001: "oryon-1",
        **dict.fromkeys((0x802, 0x803), "cortex-a75"),
        **dict.fromkeys((0x804, 0x805), "cortex-a76"),
    },
    0x61: _APPLE_LINUX,
    0x6D: {0xD49: "neoverse-n2"},
    0xC0: {0xAC3: "ampere1", 0xAC4: "ampere1a", 0xAC5: "ampere1b"},
}
"""By implementer, then by part: MIDR_EL1 in the makers' technical reference manuals."""
_MAC_FAMILIES: Final = {
    0x1B588BB3: "apple-m1",
    0xDA33D83D: "apple-m2",
    **dict.fromkeys((0x8765EDEA, 0xFA33415E, 0x72015832, 0x5F4DEA93), "apple-m3"),
    **dict.fromkeys((0x6F5129AC, 0x17D5B93A, 0x75D4ACB9, 0x204526D0), "apple-m4"),
}
"""macOS: ``hw.cpufamily``, Apple's mach/machine.h."""


def llvm_name(processor: Processor) -> str:
    """LLVM's name; of a processor that is not known here, the plainest that has no more than it has."""
    if is_arm(processor.machine):
        return _arm(processor)
    return _x86(processor) or _level(processor.features or frozenset())


def _x86(processor: Processor) -> str:
    family, model = processor.model if len(processor.model) == 2 else (0, 0)
    has = processor.features or frozenset()
    if processor.maker == "GenuineIntel" and family == 6:
        if model == 0x55:
            return "cooperlake" if _COOPER_LAKE in has else "cascadelake" if _CASCADE_LAKE in has else _INTEL[model]
        return _INTEL.get(model, "")
    if processor.maker == "GenuineIntel" and family == 19:
        return "diamondrapids" if model == 1 else ""
    if processor.maker in {"AuthenticAMD", "HygonGenuine"}:
        return _amd(family, model)
    return ""


def _amd(family: int, model: int) -> str:
    """AMD's Processor Programming References; ranges of models as AMD gives them to generations."""
    if family == 0x15:
        third, fourth = 0x30 <= model <= 0x3F, 0x60 <= model <= 0x7F
        return "bdver3" if third else "bdver4" if fourth else "bdver2" if model == 2 or model >= 0x10 else "bdver1"
    if family in {0x17, 0x18}:
        second = (range(0x30, 0x40), range(0x47, 0x48), range(0x60, 0x80), range(0x84, 0x88), range(0x90, 0xB0))
        return "znver2" if family == 0x17 and any(model in models for models in second) else "znver1"
    if family == 0x19:
        return "znver4" if 0x10 <= model <= 0x1F or 0x60 <= model <= 0x7F or 0xA0 <= model <= 0xAF else "znver3"
    return {0x10: "amdfam10", 0x12: "amdfam10", 0x14: "btver1", 0x16: "btver2", 0x1A: "znver5"}.get(family, "")


def _arm(processor: Processor) -> str:
    if processor.system == "Darwin":
        # A newer one than these has all that the oldest has; what it has besides, its own list says.
        return _MAC_FAMILIES.get(processor.model[0], "apple-m1") if processor.model else "apple-m1"
    try:
        parts = _PARTS.get(int(processor.maker, 0), {})
    except ValueError:
        return "generic"
    return parts.get(processor.model[0], "generic") if processor.model else "generic"


def _level(features: frozenset[str]) -> str:
    """The x86-64 psABI's levels of microarchitecture."""
    levels = (
        ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
        ("x86-64-v3", {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}),
        ("x86-64-v2", {"cx16", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"}),
    )
    wanted: set[str] = set()
    for _, own in reversed(levels):
        wanted |= own
    for name, own in levels:
        if wanted <= features:
            return name
        wanted -= own
    return "x86-64"
