"""What runs in MetaSchedule's worker processes: building a pair of kernels, and having them take turns.

MetaSchedule's default builder and evaluator would not do. ``default_build`` imports tensor intrinsics of GPUs, which
takes a minute in each process. The default evaluator calls one function: a candidate and what it is compared with would
be measured at different times, by RPC even on different machines.
"""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Any, Final

DEFAULT: Final = "default_schedule"
CANDIDATE: Final = "candidate_schedule"
"""Names of the two functions of a pair."""


def ignore_interrupts() -> None:
    """Ctrl-C is for the process that gave the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def build_pair(module: Any, target: Any, _params: Any) -> Any:
    """A module of two kernels, compiled."""
    import tvm

    return tvm.compile(module, target=target)


def export_pair(folder: str, executable: Any) -> str:
    """Writes object code for the linker of whoever runs it; returns the file."""
    from tvm.support.tar import tar

    file = Path(tempfile.mkdtemp(dir=folder)) / "pair.tar"
    executable.export_library(str(file), fcompile=tar)
    return str(file)


def take_turns(rounds: int, module: Any, device: Any, config: Any, arguments: list[list[Any]]) -> list[float]:
    """Seconds of a call: of the default, of the candidate, of the default, ..., for so many rounds.

    Args:
        module: of `build_pair`; here or on a remote device.
        config: MetaSchedule's ``EvaluatorConfig``: how long to repeat at least.
        arguments: one list, the first half of it for the default, the second for the candidate.
    """
    (given,) = arguments
    half = len(given) // 2
    pair = ((DEFAULT, given[:half]), (CANDIDATE, given[half:]))
    evaluators = {
        name: module.time_evaluator(
            func_name=name, dev=device, number=config.number, repeat=config.repeat, min_repeat_ms=config.min_repeat_ms
        )
        for name, _ in pair
    }
    seconds: list[float] = []
    for turn in range(rounds):
        # Who comes first changes, so that neither always finds the caches as the other left them.
        order = pair if turn % 2 == 0 else pair[::-1]
        took = {name: float(evaluators[name](*own).mean) for name, own in order}
        seconds += [took[DEFAULT], took[CANDIDATE]]
    return seconds


def take_turns_remotely(
    rounds: int, _session: Any, module: Any, device: Any, config: Any, arguments: list[list[Any]]
) -> list[float]:
    """`take_turns` by RPC."""
    return take_turns(rounds, module, device, config, arguments)
