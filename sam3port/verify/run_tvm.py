"""One run of the built components, in a fresh interpreter: ``python -m sam3port.verify.run_tvm REQUEST.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(request: dict[str, Any]) -> None:
    """Runs every case of every component and writes the outputs as ``OUT/<case>.npz``."""
    from sam3port.port.runner import Compiled

    for name, cases in request["cases"].items():
        compiled = Compiled(Path(request["built"], name))
        for case in map(Path, cases):
            with np.load(case) as arrays:
                results = compiled.run({key: arrays[key] for key in arrays.files})
            aside = Path(request["out"], f".{case.name}")
            with aside.open("wb") as stream:
                np.savez(stream, **results)  # type: ignore[arg-type]
            aside.replace(Path(request["out"], case.name))
        print(f"compiled: {name}", flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
