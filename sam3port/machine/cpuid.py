"""What an x86 processor says about itself: the instruction CPUID, and what the system lets programs use (XCR0).

Of all sources it alone is right everywhere: under a hypervisor, which changes its answers; under an emulator, where
``/proc/cpuinfo`` describes the machine below; and on Windows, whose own functions know only a few names. Bits are as
in Intel's Software Developer's Manual, volume 2A (CPUID), and AMD's Architecture Programmer's Manual, volume 3, E.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

EAX, EBX, ECX, EDX = range(4)
Cpuid = Callable[[int, int], tuple[int, int, int, int]]
"""The registers EAX, EBX, ECX and EDX after CPUID, of a leaf and a subleaf."""

_AVX: Final = 0b110
"""XCR0: the system keeps the registers XMM and YMM when it switches programs."""
_AVX512: Final = _AVX | 0b1110_0000
_TILES: Final = 0b11 << 17
_APX: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class Bit:
    """Where CPUID says that a feature is there."""

    leaf: int
    """The value of EAX."""
    subleaf: int
    """The value of ECX."""
    register: int
    """`EAX`, `EBX`, `ECX` or `EDX`."""
    number: int
    """Of the bit in that register."""
    state: int = 0
    """Bits of XCR0 that have to be set as well."""


def _bits(leaf: int, subleaf: int, register: int, state: int, **numbers: int) -> dict[str, Bit]:
    return {_NAMES.get(name, name): Bit(leaf, subleaf, register, number, state) for name, number in numbers.items()}


_NAMES: Final = {
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "avx10_1": "avx10.1",
    **{name.replace("-", "_"): name for name in ("amx-tile", "amx-int8", "amx-bf16", "amx-fp16", "amx-complex")},
}

BITS: Final[dict[str, Bit]] = {
    **_bits(1, 0, EDX, 0, cx8=8, cmov=15, mmx=23, fxsr=24, sse=25, sse2=26),
    **_bits(1, 0, ECX, 0, sse3=0, pclmul=1, ssse3=9, cx16=13, sse4_1=19, sse4_2=20, movbe=22, popcnt=23, aes=25),
    **_bits(1, 0, ECX, _AVX, fma=12, avx=28, f16c=29),
    **_bits(7, 0, EBX, 0, bmi=3, bmi2=8, adx=19, sha=29),
    **_bits(7, 0, EBX, _AVX, avx2=5),
    **_bits(7, 0, EBX, _AVX512, avx512f=16, avx512dq=17, avx512ifma=21, avx512cd=28, avx512bw=30, avx512vl=31),
    **_bits(7, 0, ECX, 0, gfni=8),
    **_bits(7, 0, ECX, _AVX, vaes=9, vpclmulqdq=10),
    **_bits(7, 0, ECX, _AVX512, avx512vbmi=1, avx512vbmi2=6, avx512vnni=11, avx512bitalg=12, avx512vpopcntdq=14),
    **_bits(7, 0, EDX, _AVX512, avx512vp2intersect=8, avx512fp16=23),
    **_bits(7, 0, EDX, _TILES, amx_bf16=22, amx_tile=24, amx_int8=25),
    **_bits(7, 1, EAX, 0, cmpccxadd=7),
    **_bits(7, 1, EAX, _AVX, sha512=0, sm3=1, sm4=2, avxvnni=4, avxifma=23),
    **_bits(7, 1, EAX, _AVX512, avx512bf16=5),
    **_bits(7, 1, EAX, _TILES, amx_fp16=21),
    **_bits(7, 1, EDX, _AVX, avxvnniint8=4, avxneconvert=5, avxvnniint16=10),
    **_bits(7, 1, EDX, _AVX512, avx10_1=19),
    **_bits(7, 1, EDX, _TILES, amx_complex=8),
    **_bits(7, 1, EDX, _APX, egpr=21, push2pop2=21, ppx=21, ndd=21, ccmp=21, nf=21, zu=21),
    **_bits(0x80000001, 0, ECX, 0, sahf=0, lzcnt=5, sse4a=6, prfchw=8, tbm=21),
    **_bits(0x80000001, 0, ECX, _AVX, xop=11, fma4=16),
}
"""By LLVM's name."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What CPUID says of the processor."""

    maker: str
    """``GenuineIntel``, ``AuthenticAMD``, ..."""
    family: int
    model: int
    stepping: int
    brand: str
    """For people; may be empty."""
    features: frozenset[str]
    """LLVM's names, of `BITS`, of what processor and system offer."""


def identify() -> Identity | None:
    """The running processor; None where it is no x86-64, or where no code may be made to ask it."""
    try:
        with _instructions() as (cpuid, xcr0):
            return identity(cpuid, xcr0)
    except OSError:
        return None


def identity(cpuid: Cpuid, xcr0: Callable[[], int]) -> Identity:
    """What these two answers mean.

    Args:
        cpuid: is asked only for leaves that leaf 0 and leaf 0x80000000 say are there.
        xcr0: is asked only where CPUID says that it can be (OSXSAVE).
    """
    last, *parts = cpuid(0, 0)
    maker = _text(parts[0], parts[2], parts[1])
    signature, _, has, _ = cpuid(1, 0)
    allowed = xcr0() if has >> 27 & 1 else 0
    last_extended = cpuid(0x80000000, 0)[EAX]
    subleaves = cpuid(7, 0)[EAX] if last >= 7 else 0

    def there(bit: Bit) -> bool:
        if bit.leaf > (last_extended if bit.leaf >= 0x80000000 else last) or (
            bit.leaf == 7 and bit.subleaf > subleaves
        ):
            return False
        return bool(cpuid(bit.leaf, bit.subleaf)[bit.register] >> bit.number & 1) and allowed & bit.state == bit.state

    brand = (
        "".join(_text(*cpuid(leaf, 0)) for leaf in range(0x80000002, 0x80000005)) if last_extended >= 0x80000004 else ""
    )
    family, model = signature >> 8 & 15, signature >> 4 & 15
    if family in {6, 15}:
        model |= (signature >> 16 & 15) << 4
    if family == 15:
        family += signature >> 20 & 255
    features = frozenset(name for name, bit in BITS.items() if there(bit))
    return Identity(maker, family, model, signature & 15, brand.strip(), features)


def _text(*registers: int) -> str:
    return b"".join(part.to_bytes(4, "little") for part in registers).rstrip(b"\0").decode("ascii", "replace")


@contextmanager
def _instructions() -> Iterator[tuple[Cpuid, Callable[[], int]]]:
    """Both instructions as functions.

    Raises:
        OSError: this is no x86-64, or the system lets no program make code.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"} or sys.maxsize <= 2**32:
        raise OSError("not an x86-64")
    cpuid, xgetbv = bytes.fromhex("0fa2"), bytes.fromhex("0f01d0")
    with _executable(_function(cpuid)) as ask, _executable(_function(xgetbv)) as allowed:

        def called(function: Any, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
            out = (ctypes.c_uint32 * 4)()
            function(leaf, subleaf, out)
            return out[EAX], out[EBX], out[ECX], out[EDX]

        def xcr0() -> int:
            low, _, _, high = called(allowed, 0, 0)
            return high << 32 | low

        yield lambda leaf, subleaf: called(ask, leaf, subleaf), xcr0


def _function(instruction: bytes) -> bytes:
    """Machine code of ``void (uint32 eax, uint32 ecx, uint32 *out)``: the instruction, then its four registers."""
    # Arguments come in EDI, ESI, RDX (System V) or ECX, EDX, R8 (Windows); RBX belongs to the caller.
    arguments = "89c8 89d1" if sys.platform == "win32" else "4989d0 89f8 89f1"
    stores = "418900 41895804 41894808 4189500c"
    return bytes.fromhex(f"53 {arguments}") + instruction + bytes.fromhex(f"{stores} 5b c3")


@contextmanager
def _executable(code: bytes) -> Iterator[Any]:
    """The code as a function, in memory that can be written to first and run afterwards, never both at once."""
    signature = (None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
    if sys.platform == "win32":
        windows = ctypes.WinDLL("kernel32", use_last_error=True)
        windows.VirtualAlloc.restype = ctypes.c_void_p
        windows.VirtualAlloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32)
        windows.VirtualProtect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p)
        windows.VirtualFree.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32)
        commit_and_reserve, writable, runnable, release, before = 0x3000, 0x04, 0x20, 0x8000, ctypes.c_uint32()
        address = windows.VirtualAlloc(None, len(code), commit_and_reserve, writable)
        if not address:
            raise OSError("no memory")
        try:
            ctypes.memmove(address, code, len(code))
            if not windows.VirtualProtect(address, len(code), runnable, ctypes.byref(before)):
                raise OSError("memory cannot be run")
            yield ctypes.WINFUNCTYPE(*signature)(address)
        finally:
            windows.VirtualFree(address, 0, release)
        return
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    try:
        memory.write(code)
        start = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(start)
        del start
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if libc.mprotect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "memory cannot be run")
        yield ctypes.CFUNCTYPE(*signature)(address)
    finally:
        with suppress(BufferError):
            memory.close()
