"""How fast a processor's instructions are, measured in registers once, and what follows for the code.

That a processor has an instruction does not say that it pays: LLVM tunes most of Intel's for registers of 256 bits,
where those of 512 do twice the work on servers; and the bfloat16 dot product of Sapphire Rapids, or of Apple's
processors, is half as fast as float32.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import filelock

from sam3port.cache.places import cache_root
from sam3port.machine.features import is_arm
from sam3port.machine.names import llvm_name
from sam3port.machine.processor import Processor, running

MEASURED: Final = "measured on this machine"
_WIDER_PAYS: Final = 1.2
_NARROWER_PAYS: Final = 0.9
_DOT_PAYS: Final = 1.1
"""Ratios from which on a choice is made: neighbours on a shared machine move them by some percent."""
FLOAT32, BFLOAT16, INT8 = KINDS = ("float32", "bfloat16", "int8")
"""What is multiplied in the loops that are measured, in the order of the fields of `Rates`."""
_MODULE: Final = "sam3port.targets.measure_rates"
_TIME_LIMIT: Final = 120.0


@dataclass(frozen=True)
class Rates:
    """Of one core, by the width of a register in bits: 10^9 operations a second."""

    float32: Mapping[int, float] = field(default_factory=dict)
    """Fused multiply-adds; each counts as two operations."""
    bfloat16: Mapping[int, float] = field(default_factory=dict)
    """The instruction for pairs of bfloat16; empty where there is none."""
    int8: Mapping[int, float] = field(default_factory=dict)
    """The instruction for four bytes; empty where there is none."""
    source: str = ""
    """`MEASURED`, or where the figures are from; empty: nobody knows, and LLVM's own choice holds."""
    problem: str = ""
    """Why nothing was measured although this is the machine; empty: nothing went wrong."""

    @property
    def bits(self) -> int | None:
        """The width to compute in: 256 or 512 where both are known and one is clearly faster; None: LLVM's choice."""
        narrow, wide = self.float32.get(256), self.float32.get(512)
        if not narrow or not wide:
            return None
        return 512 if wide >= _WIDER_PAYS * narrow else 256 if wide <= _NARROWER_PAYS * narrow else None

    @property
    def bfloat16_pays(self) -> bool | None:
        """Whether the dot product of bfloat16 beats float32, each at its best width; None: nobody knows."""
        if not self.bfloat16 or not self.float32:
            return None
        return max(self.bfloat16.values()) >= _DOT_PAYS * max(self.float32.values())

    def attributes(self) -> list[str]:
        """What LLVM is told: the width it shall prefer, and that it shall leave out what is slow.

        Without its instruction bfloat16 is a type of weights: products compute in float32.
        """
        said = {512: ["-prefer-256-bit"], 256: ["+prefer-256-bit"], None: []}[self.bits]
        slow = self.bfloat16_pays is False
        return [*said, *(["-bf16"] if slow and 128 in self.float32 else ["-avx512bf16"] if slow else [])]

    def as_json(self) -> dict[str, Any]:
        """For the cache and the manifest."""
        return {key: value for key, value in asdict(self).items() if value}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Rates:
        """
        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is no such record.
        """

        def of(name: str) -> dict[int, float]:
            return {int(bits): float(rate) for bits, rate in content.get(name, {}).items()}

        return Rates(of(FLOAT32), of(BFLOAT16), of(INT8), str(content["source"]))

    def described(self) -> str:
        """For people: ``float32 100 (256 bits), 209 (512); bfloat16 93 (512)``, in 10^9 operations a second."""
        parts = [
            f"{name} " + ", ".join(f"{rate:.0f} ({bits} bits)" for bits, rate in sorted(rates.items()))
            for name, rates in zip(KINDS, (self.float32, self.bfloat16, self.int8), strict=True)
            if rates
        ]
        return "; ".join(parts)


_CPUFP: Final = "github.com/pigirons/cpufp, benchmark_result, commit 93e165e"
_GOLDEN_COVE: Final = Rates({256: 118, 512: 230}, {512: 115}, {512: 998}, f"Xeon 6455B, {_CPUFP}")
_TWO_UNITS: Final = Rates({256: 1, 512: 2}, {}, {}, "two units of 512 bits; parts with one lose nothing")
_APPLE: Final = Rates({128: 106}, {128: 53}, {128: 426}, f"M2 Max, {_CPUFP}")
_TWICE: Final = Rates({128: 1}, {128: 2}, {128: 4}, f"Graviton 3E, CIX P1, Snapdragon X Elite, {_CPUFP}")
KNOWN: Final[dict[str, Rates]] = {
    "znver4": Rates({256: 164, 512: 164}, {512: 325}, {512: 648}, f"Ryzen 7 8845HS, {_CPUFP}"),
    "znver5": Rates({256: 177, 512: 354}, {512: 708}, {512: 1417}, f"Ryzen 7 9700X, {_CPUFP}"),
    "sapphirerapids": _GOLDEN_COVE,
    "emeraldrapids": Rates({256: 100, 512: 209}, {512: 93}, {512: 630}, "measured on a virtual machine of a Xeon"),
    **dict.fromkeys(("graniterapids", "graniterapids-d"), _GOLDEN_COVE),
    **dict.fromkeys(("skylake-avx512", "cascadelake", "icelake-server"), _TWO_UNITS),
    "cooperlake": Rates({256: 1, 512: 2}, {512: 1}, {}, "two units of 512 bits; no figure of its bfloat16 is known"),
    **dict.fromkeys(("apple-m2", "apple-m3", "apple-m4", "apple-m5"), _APPLE),
    **dict.fromkeys(("neoverse-v1", "neoverse-n2", "neoverse-v2", "oryon-1"), _TWICE),
}
"""For processors that are not here, by LLVM's name. Granite Rapids and the later Neoverse cores are taken like the
measured ones of their line."""


def rates_of(processor: Processor) -> Rates:
    """What is known of a processor: measured where it is the one that runs this, and there is something to choose.

    The first call on a machine takes some seconds, in a process of its own; later ones read the user's cache.

    Args:
        processor: the running one, or one that is described.
    """
    if not has_a_choice(processor):
        return Rates()
    return _kept_or_measured(processor) if processor == running() else KNOWN.get(llvm_name(processor), Rates())


def has_a_choice(processor: Processor) -> bool:
    """Whether there is more than one width, or an instruction for bfloat16."""
    has = processor.features or frozenset()
    return ("bf16" in has) if is_arm(processor.machine) else {"avx512f", "avx512vl"} <= has


def kept_file(processor: Processor) -> Path:
    """Where the measurement of a processor is kept. Another version of TVM, or of the loops, measures again."""
    import sam3port

    folder = Path(sam3port.__file__).parent
    sources = [folder / "kernels" / "cpu" / "formats" / "register_loops.py", folder / "targets" / "measure_rates.py"]
    digest = hashlib.sha256(repr((processor, importlib.metadata.version("apache-tvm"))).encode())
    digest.update(repr(sorted(processor.features or ())).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return cache_root() / "processors" / f"{digest.hexdigest()[:24]}.json"


def kept_rates(processor: Processor) -> Rates | None:
    """What was measured of the running processor before; None: nothing was, or another one is asked for."""
    return _kept(kept_file(processor)) if processor == running() else None


def _kept_or_measured(processor: Processor) -> Rates:
    file = kept_file(processor)
    if (kept := _kept(file)) is not None:
        return kept
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.with_suffix(".lock")):
            if (kept := _kept(file)) is not None:
                return kept
            measured = _measured()
            if measured.problem:
                return replace(KNOWN.get(llvm_name(processor), Rates()), problem=measured.problem)
            aside = file.with_suffix(f".{os.getpid()}.new")
            aside.write_text(json.dumps(measured.as_json(), indent=1), encoding="utf-8")
            aside.replace(file)
            return measured
    except OSError as error:
        # Each process would measure for itself, and two may not agree: the table does.
        problem = f"{file.parent} cannot be written: {error.strerror or error}"
        return replace(KNOWN.get(llvm_name(processor), Rates()), problem=problem)


def _kept(file: Path) -> Rates | None:
    try:
        return Rates.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or damaged: measured again


def _measured() -> Rates:
    import subprocess

    from sam3port import children
    from sam3port.errors import Sam3PortError

    try:
        done = children.run(_MODULE, timeout=_TIME_LIMIT)
    except (Sam3PortError, subprocess.TimeoutExpired) as error:
        return Rates(problem=str(error).partition("\n")[0])
    try:
        return Rates.from_json(json.loads(done.stdout.strip().rpartition("\n")[2]))
    except (ValueError, KeyError, TypeError, AttributeError):
        said = (done.stderr.strip().splitlines() or [f"its status is {done.returncode}"])[-1]
        return Rates(problem=f"the measurement ended with: {said}")
