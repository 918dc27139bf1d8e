"""What the import hook costs: installing it, an activated start, and patching during ``import sam3``.

    python benchmarks/import_cost.py [--rounds 7] [--json]

Ratios within one run, fresh interpreters, the contestants alternating; medians. The yardstick for patching is the
same patched source imported from disk by Python's own loader with its bytecode cached (`apply-patches --write`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

INSTALL = """
import sys, time
start = time.perf_counter()
import sam3port
sam3port.install()
print(time.perf_counter() - start)
assert not {"torch", "tvm", "numpy"} & set(sys.modules)
"""
AUTOLOAD = """
import time
start = time.perf_counter()
import sam3port.autoload
sam3port.autoload.start(None, ())
print(time.perf_counter() - start)
"""
HOOKED = """
import time, sam3port
sam3port.install()
start = time.perf_counter()
import sam3
print(time.perf_counter() - start)
"""
FROM_DISK = """
import time
start = time.perf_counter()
from sam3port.replacements import torchvision_ops
torchvision_ops.install()  # what the hook does as well before the first import
import sam3
print(time.perf_counter() - start)
assert type(sam3.__loader__).__name__ == "SourceFileLoader"
"""


def seconds(code: str, **environment: str) -> float:
    """One fresh interpreter's own measurement."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        printed = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env=kept | environment,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return float(printed.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="What the import hook costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        subprocess.run(
            [sys.executable, "-m", "sam3port", "apply-patches", "--write", str(copy)], check=True, capture_output=True
        )
        contestants = {
            "install": lambda: seconds(INSTALL),
            "activated start": lambda: seconds(AUTOLOAD),
            "import sam3, hooked": lambda: seconds(HOOKED),
            "import sam3, patched copy on disk": lambda: seconds(FROM_DISK, PYTHONPATH=str(copy)),
        }
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for measure in contestants.values():  # warm-up: bytecode and the disk's cache
            measure()
        for _ in range(options.rounds):
            for name, measure in contestants.items():
                taken[name].append(measure())
    medians = {name: statistics.median(values) for name, values in taken.items()}
    hooked, disk = medians["import sam3, hooked"], medians["import sam3, patched copy on disk"]
    result = {"median_seconds": medians, "patching_adds": hooked / disk - 1}
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in medians.items():
        print(f"{name:36} {value * 1000:8.1f} ms   ({min(taken[name]) * 1000:.1f} to {max(taken[name]) * 1000:.1f})")
    print(f"{'patching adds to `import sam3`':36} {result['patching_adds']:+8.1%}")


if __name__ == "__main__":
    main()
