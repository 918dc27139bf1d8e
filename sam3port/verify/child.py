"""What both kinds of runs have in common: a process that computes cases and says so, one line of JSON per event."""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3port.children.parent import Parent
from sam3port.errors import first_line
from sam3port.placing import replacing

Outputs = Mapping[str, NDArray[np.generic]]
Compute = Callable[[Outputs], Outputs]


class Computing:
    """This process, which computes what a proof has written down."""

    def __init__(self) -> None:
        self.say = Parent().say
        self.request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))

    def compute(self, ready: Callable[[str], Compute]) -> None:
        """Computes every case and writes its outputs as ``OUT/<case>.npz``.

        Args:
            ready: makes a component ready, by name. An error of its own, or of what it returns, fails that component.
        """
        for component, cases in self.request["cases"].items():
            self.say("began", component=component)
            started = time.perf_counter()
            compute: Compute | None = None
            try:
                compute = ready(component)
                for case in map(Path, cases):
                    self.say("case", component=component, case=case.stem)
                    with np.load(case) as arrays:
                        _write(
                            Path(self.request["out"], case.name), compute({key: arrays[key] for key in arrays.files})
                        )
            except Exception as error:
                traceback.print_exc()
                self._done("failed", component, started, problem=first_line(error))
            else:
                self._done("done", component, started)
            # On the full model the next component must not find this one still in memory.
            compute = None
            gc.collect()

    def _done(self, event: str, component: str, started: float, **content: Any) -> None:
        import psutil

        seconds, memory = time.perf_counter() - started, psutil.Process().memory_info().rss
        self.say(event, component=component, seconds=seconds, memory=memory, **content)


def _write(file: Path, outputs: Outputs) -> None:
    with replacing(file) as stream:
        np.savez(stream, **outputs)  # type: ignore[arg-type]
