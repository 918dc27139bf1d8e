"""A contestant's process: opens its work once, then runs it whenever it is told to."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sam3port.children.parent import Parent
from sam3port.errors import first_line
from sam3port.verify.child import Outputs


@dataclass(frozen=True)
class Opened:
    """Work that is ready to be done."""

    works: Mapping[str, Callable[[], Any]]
    """By name; each computes and waits until it is computed. Later works may use what earlier ones left."""
    outputs: Callable[[str, Any], Outputs]
    """``(work, what it returned)`` as named arrays; not part of the time."""
    flops: Mapping[str, int] = field(default_factory=dict)
    """Operations of a work, where the child decides on them."""


def serve(opening: Callable[[dict[str, Any]], Opened]) -> None:
    """Answers the contest until it ends.

    The request is the file named on the command line; commands and answers go as `sam3port.children.parent` says.
    """
    parent = Parent()
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        opened = opening(request)
        open_at = time.time()
        reset_peak()
        first: dict[str, float] = {}
        for name, work in opened.works.items():
            started = time.perf_counter()
            result = work()
            first[name] = time.perf_counter() - started
            np.savez(Path(request["out"], f"{name}.npz"), **opened.outputs(name, result))  # type: ignore[arg-type]
            del result
        parent.say("ready", opened_s=open_at - request["started"], first_s=first, flops=dict(opened.flops))
        for command in parent.commands():
            if command["do"] == "end":
                break
            parent.say("ran", seconds=_turn(opened.works[command["work"]], command["at_least_s"]))
        parent.say("ended", peak=peak())
    except Exception as error:
        traceback.print_exc()
        parent.say("failed", problem=first_line(error))
        raise SystemExit(1) from None


def _turn(work: Callable[[], Any], at_least: float) -> list[float]:
    """Seconds of each run, as many as fill the time, one at least."""
    seconds: list[float] = []
    while sum(seconds) < at_least or not seconds:
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
        del result
    return seconds


def reset_peak() -> None:
    """Forgets what opening took, where the system can (Linux); elsewhere the peak is that of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak() -> int:
    """Bytes: the most that was resident since `reset_peak`."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)
