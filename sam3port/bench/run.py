"""One run of ``sam3port bench``, as a report keeps it: the results, and everything that they depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.bench.figures import Results
from sam3port.upstream import pin

if TYPE_CHECKING:
    from sam3port.bench.components import Setup

_PACKAGES: Final = ("torch", "apache-tvm", "onnxruntime", "openvino", "onnx", "numpy", "sam3port")
_ABOUT: Final = ("command", "upstream", "preset", "resolution", "dtype", "threads", "rounds", "machine", "versions")


@dataclass(frozen=True, slots=True)
class BenchRun:
    """Ratios are of times within one run."""

    results: Results
    about: Mapping[str, Any]
    """``command``, ``upstream``, ``preset``, ``resolution``, ``dtype``, ``threads``, ``rounds``, ``machine``,
    ``versions``."""

    @property
    def title(self) -> str:
        """What runs have in common that belong into one table."""
        size = f" at {self.about['resolution']} pixels" if self.about["resolution"] else ""
        return f"{self.about['preset']}{size}, {self.about['dtype']}, {self.about['threads']} threads"

    def as_json(self) -> dict[str, Any]:
        """The object that ``sam3port bench --json`` prints."""
        return {**self.results.as_json(), **self.about}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> BenchRun:
        """
        Raises:
            KeyError, TypeError, ValueError: it is no run.
        """
        return BenchRun(Results.from_json(content), {name: content[name] for name in _ABOUT})


def run_of(results: Results, setup: Setup, command: str) -> BenchRun:
    """``command`` is what made the results."""
    build = setup.build
    values = (command, pin.COMMIT, build.preset, build.resolution, build.dtype, setup.threads, setup.rounds)
    return BenchRun(results, dict(zip(_ABOUT, (*values, machine(), versions()), strict=True)))


def machine() -> str:
    """What the operating system says about processor and system, and LLVM about the processor."""
    from sam3port.machine.processor import running
    from sam3port.targets.host import cpu_name

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    named = f", {len(names)} x {names[0]}" if names else ""
    return f"{platform.system()} {platform.machine()}{named} ({cpu_name(running())})"


def versions() -> dict[str, str]:
    """Of the packages that took part, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
