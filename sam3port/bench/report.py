"""The report of a contest: JSON for machines, Markdown and a plot for people."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.bench.figures import NO_INSTRUCTION
from sam3port.bench.plot import plot
from sam3port.bench.table import COLUMNS, lines
from sam3port.upstream import pin

if TYPE_CHECKING:
    from sam3port.bench.components import Setup
    from sam3port.bench.figures import Results

JSON: Final = "performance.json"
MARKDOWN: Final = "PERFORMANCE.md"
PLOT: Final = "performance.png"
_PACKAGES: Final = ("torch", "apache-tvm", "onnxruntime", "openvino", "onnx", "numpy", "sam3port")


def content(results: Results, setup: Setup, command: str) -> dict[str, Any]:
    """The results with everything that they depend on."""
    build = setup.build
    return {
        **results.as_json(),
        "command": command,
        "upstream": pin.COMMIT,
        "preset": build.preset,
        "resolution": build.resolution,
        "dtype": build.dtype,
        "threads": setup.threads,
        "rounds": setup.rounds,
        "machine": machine(),
        "versions": versions(),
    }


def write_report(results: Results, setup: Setup, folder: Path, command: str) -> list[Path]:
    """Writes the three files, each whole or not at all. ``command`` is what made them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        JSON: json.dumps(content(results, setup, command), indent=1) + "\n",
        MARKDOWN: markdown(results, setup, command),
    }
    for name, text in texts.items():
        aside = folder / f".{name}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(folder / name)
    plot(results, _title(setup), folder / PLOT)
    return [folder / name for name in (*texts, PLOT)]


def markdown(results: Results, setup: Setup, command: str) -> str:
    """The report as people read it."""
    limit, half, read = results.fma_limit, results.bfloat16_limit, results.read_limit
    limits = [
        f"{limit:.0f} GFLOP/s of float32 multiply-adds" if limit else "",
        f"{half:.0f} GFLOP/s of bfloat16 multiply-adds" if half else "",
        f"{read:.1f} GB/s read from memory" if read else "",
    ]
    absent = "" if half or setup.build.dtype != "bfloat16" else f" For bfloat16 that limit counts: {NO_INSTRUCTION}."
    used = ", ".join(f"{name} {number}" for name, number in versions().items())
    return "\n".join(
        [
            f"# Speed: {_title(setup)}",
            "",
            f"{machine()}, {used}; upstream sam3 at `{pin.COMMIT}`. Made by",
            "",
            f"```sh\n{command}\n```",
            "",
            "All contestants have the same inputs and threads, and take turns: first a warm-up, then"
            f" {setup.rounds} rounds, after each of which the order changes.",
            f"In the same rounds the machine reached at most {', '.join(filter(None, limits))}.{absent}",
            "*error*: largest absolute difference from upstream in float64, over all outputs (end to end: of the"
            " scores, from upstream's in float32).",
            "*opened*: from the start of the process until it can compute, compilation and packing included where they"
            " happen then.",
            "*peak memory*: of the process while it computes.",
            "*torch*: upstream as it is (portability patches only). *inductor*: `torch.compile` of the program that the"
            " port is built from, weights frozen. *onnxruntime*, *openvino*: the same program through"
            " `torch.onnx.export`.",
            "",
            *_table(COLUMNS, lines(results)),
            "",
            f"![time and roofline]({PLOT})",
            "",
        ]
    )


def machine() -> str:
    """What the operating system says about processor and system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.system()} {platform.machine()}" + (f", {len(names)} x {names[0]}" if names else "")


def versions() -> dict[str, str]:
    """Of the packages that took part, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _title(setup: Setup) -> str:
    build = setup.build
    size = f" at {build.resolution} pixels" if build.resolution else ""
    return f"{build.preset}{size}, {build.dtype}, {setup.threads} threads"


def _table(headings: Sequence[str], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        "|---|---|" + "--:|" * (len(headings) - 2),
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
