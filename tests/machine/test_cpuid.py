"""The processor asked by its own instruction."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from sam3port.machine import cpuid
from sam3port.machine.cpuid import BITS, EAX, EBX, ECX, EDX, identify, identity

X86 = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="only x86 has CPUID")
Leaves = dict[tuple[int, int], tuple[int, int, int, int]]


@X86
def test_llvm_and_numpy_hear_the_same() -> None:
    from numpy._core._multiarray_umath import __cpu_features__ as numpys
    from tvm.target import codegen

    found = identify()
    assert found is not None
    vendors = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
    if found.maker in vendors:
        assert vendors[found.maker] in str(codegen.llvm_get_system_x86_vendor()).lower()
    names = {"AVX": "avx", "AVX2": "avx2", "FMA3": "fma", "F16C": "f16c", "AVX512F": "avx512f", "SSE42": "sse4.2"}
    asked = {ours: numpys[theirs] for theirs, ours in names.items() if theirs in numpys}
    assert asked and {name for name, there in asked.items() if there} == set(asked) & found.features


@X86
def test_it_is_asked_in_threads_and_again() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: identify(), range(50)))) == 1


@X86
def test_where_no_code_may_be_made_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under systemd's MemoryDenyWriteExecute or SELinux."""
    monkeypatch.setattr(cpuid.mmap, "mmap", lambda *_, **__: (_ for _ in ()).throw(PermissionError("denied")))
    assert identify() is None


def test_elsewhere_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpuid.platform, "machine", lambda: "aarch64")
    assert identify() is None


def answers(leaves: Leaves, xcr0: int = 0) -> cpuid.Identity:
    asked: list[tuple[int, int]] = []

    def ask(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        asked.append((leaf, subleaf))
        return leaves.get((leaf, subleaf), (0xFFFFFFFF,) * 4)  # what is not there reads as anything

    def allowed() -> int:
        assert leaves[1, 0][ECX] >> 27 & 1, "XGETBV without OSXSAVE is an illegal instruction"
        return xcr0

    found = identity(ask, allowed)
    assert set(asked) <= set(leaves), "a leaf was asked for that is not there"
    return found


def leaf(*names: str, number: int, subleaf: int = 0, more: tuple[int, int, int, int] = (0, 0, 0, 0)) -> tuple[int, ...]:
    registers = list(more)
    for name in names:
        bit = BITS[name]
        assert (bit.leaf, bit.subleaf) == (number, subleaf), name
        registers[bit.register] |= 1 << bit.number
    return tuple(registers)


GENUINE = (0x756E6547, 0x6C65746E, 0x49656E69)  # "Genu", "ntel", "ineI": EBX, ECX, EDX
OSXSAVE = 1 << 27


def test_a_processor_of_before_leaf_7() -> None:
    found = answers(
        {
            (0, 0): (1, *GENUINE),
            (1, 0): leaf("sse", "sse2", "sse3", number=1, more=(0x106A5, 0, 0, 0)),  # type: ignore[dict-item]
            (0x80000000, 0): (0x80000001, 0, 0, 0),
            (0x80000001, 0): (0, 0, 0, 0),
        }
    )
    assert (found.maker, found.family, found.model, found.stepping) == ("GenuineIntel", 6, 0x1A, 5)
    assert found.features == {"sse", "sse2", "sse3"}


@pytest.mark.parametrize(
    ("xcr0", "usable"),
    [
        (0b11, set()),
        (0b111, {"avx", "avx2", "fma"}),
        (0b1110_0111, {"avx", "avx2", "fma", "avx512f", "avx512vl", "avx512bf16"}),
        (0b11 << 17 | 0b1110_0111, {"avx", "avx2", "fma", "avx512f", "avx512vl", "avx512bf16", "amx-tile", "amx-bf16"}),
    ],
)
def test_registers_that_the_system_does_not_keep_are_not_offered(xcr0: int, usable: set[str]) -> None:
    """The processor has everything; a system, or a hypervisor, that does not save a register takes its instructions."""
    leaves = {
        (0, 0): (7, *GENUINE),
        (1, 0): leaf("avx", "fma", number=1, more=(0xC06F2, 0, OSXSAVE, 0)),
        (7, 0): leaf("avx2", "avx512f", "avx512vl", "amx-tile", "amx-bf16", number=7, more=(1, 0, 0, 0)),
        (7, 1): leaf("avx512bf16", number=7, subleaf=1),
        (0x80000000, 0): (0x80000001, 0, 0, 0),
        (0x80000001, 0): (0, 0, 0, 0),
    }
    found = answers(leaves, xcr0)  # type: ignore[arg-type]
    assert (found.family, found.model) == (6, 0xCF)
    assert found.features == usable


def test_without_osxsave_no_wide_register_is_offered() -> None:
    leaves = {
        (0, 0): (1, *GENUINE),
        (1, 0): leaf("avx", "fma", "popcnt", number=1, more=(0x206A7, 0, 0, 0)),
        (0x80000000, 0): (0x80000001, 0, 0, 0),
        (0x80000001, 0): (0, 0, 0, 0),
    }
    assert answers(leaves).features == {"popcnt"}  # type: ignore[arg-type]


def test_no_two_features_share_a_bit_but_those_of_apx() -> None:
    places: dict[tuple[int, int, int, int], list[str]] = {}
    for name, bit in BITS.items():
        assert bit.register in {EAX, EBX, ECX, EDX}
        places.setdefault((bit.leaf, bit.subleaf, bit.register, bit.number), []).append(name)
    shared = [names for names in places.values() if len(names) > 1]
    assert len(shared) == 1 and "egpr" in shared[0]


def test_it_is_light() -> None:
    code = "import sys, sam3port.machine.processor as p; p.running(); print({'tvm', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
