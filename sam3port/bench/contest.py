"""One contest: the same work by everybody, in turns, so that a slow minute of the machine is everybody's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sam3port.bench.contestants import MODULES, Contestant
from sam3port.bench.figures import Absent, Results, Row
from sam3port.bench.limit import BFLOAT16, FLOAT32, READ
from sam3port.bench.process import ContestantFailed, Process
from sam3port.verify.child import Outputs

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest

LIMIT_MODULE: Final = "sam3port.bench.run_limit"
_REST_S: Final = 0.3
"""Between turns: OpenMP's threads spin for 0.2 s after their work, which the next one would pay for."""
_TURN_S: Final = 0.5
"""A turn lasts at least so long: work of milliseconds is repeated."""

Error = Callable[[Contestant, str, Outputs], float | None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Works:
    """What a contest is about."""

    names: Mapping[str, str]
    """Each work's name for its process -> what its row is called."""
    flops: Mapping[str, int] = field(default_factory=dict)
    bytes_moved: Mapping[str, int] = field(default_factory=dict)


def compete(
    works: Works,
    requests: Mapping[Contestant, Mapping[str, Any]],
    folder: Path,
    *,
    modules: Mapping[Contestant, str] = MODULES,
    build: BuildRequest,
    threads: int,
    rounds: int,
    error: Error,
    results: Results,
    say: Say,
) -> None:
    """Adds rows to ``results``.

    Args:
        works: what is done.
        requests: what each contestant is told.
        folder: for the processes' files.
        modules: what each one executes.
        build: what ours was built from: its type is what is computed in, its target what the limits are measured with.
        threads: for each.
        rounds: in each of them everybody has a turn; one more, before them, is the warm-up.
        error: how far a contestant's first outputs are off, None where that cannot be said.
        results: is added to.
        say: is told what happens.
    """
    with contextlib.ExitStack() as stack:
        limit = Process(LIMIT_MODULE, {"build": build.as_json()}, folder / "limit", threads)
        stack.callback(limit.kill)
        there: dict[Contestant, Process] = {}
        for contestant, request in requests.items():
            say(f"{contestant}: opening")
            try:
                process = Process(modules[contestant], request, folder / contestant, threads)
            except ContestantFailed as failure:
                say(f"{contestant}: {failure.problem}")
                results.absent += [Absent(title, contestant, failure.problem) for title in works.names.values()]
                continue
            stack.callback(process.kill)
            there[contestant] = process
        seconds: dict[tuple[Contestant, str], list[float]] = {}
        limits = {FLOAT32: results.float32_limits, BFLOAT16: results.bfloat16_limits, READ: results.read_limits}
        measured = {name: kept for name, kept in limits.items() if name in limit.flops}
        for number, order in enumerate(_orders(list(there), rounds + 1)):
            for name, kept in measured.items():
                kept.append(limit.flops[name] / min(limit.turn(name, 0.1)) / 1e9)
            for contestant in order:
                for work in works.names if contestant in there else ():
                    time.sleep(_REST_S)
                    try:
                        ran = there[contestant].turn(work, _TURN_S)
                    except ContestantFailed as failure:
                        say(f"{contestant}: {failure.problem}")
                        results.absent.append(Absent(works.names[work], contestant, failure.problem))
                        there.pop(contestant)
                        break
                    if number:  # the first is the warm-up
                        seconds.setdefault((contestant, work), []).extend(ran)
                    say(f"{contestant}: {works.names[work]} {np.median(ran):.4g} s" + ("" if number else " (warm-up)"))
        for contestant, process in there.items():
            opened_s, first_s, out = process.opened_s, process.first_s, process.out
            peak = process.end()
            for work, title in works.names.items():
                with np.load(out / f"{work}.npz") as arrays:
                    off = error(contestant, work, {name: arrays[name] for name in arrays.files})
                results.rows.append(
                    Row(
                        title,
                        contestant,
                        build.dtype,
                        tuple(seconds[contestant, work]),
                        works.flops.get(work),
                        works.bytes_moved.get(work),
                        peak,
                        opened_s,
                        first_s[work],
                        off,
                    )
                )


def _orders(contestants: Sequence[Contestant], rounds: int) -> Iterator[list[Contestant]]:
    """Who follows whom changes from round to round: each goes first once, forwards, then backwards."""
    for number in range(rounds):
        shift = number % len(contestants) if contestants else 0
        turned = [*contestants[shift:], *contestants[:shift]]
        yield turned if number % 2 == 0 else turned[::-1]
