"""Measuring schedules with MetaSchedule's builder and runners: on this machine, or by RPC on others.

MetaSchedule's own search is not used. It describes a candidate by a trace of schedule primitives that is applied to the
original function. Ours are generated for their schedule: the trace of one is empty, and applied to another function it
gives that one again. So ReplayTrace and EvolutionarySearch would measure the default over and over, and JSONDatabase,
which stores traces, would bring back nothing else (tests/tuning/test_measure.py shows it).
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sam3port.children import started_by_libraries
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.scheduling.schedules import Schedule
from sam3port.kernels.cpu.workloads.workload import Workload
from sam3port.tuning import duel
from sam3port.tuning.devices import Devices
from sam3port.tuning.interrupts import interrupts_wait

_BUILD_TIMEOUT_S: Final = 300.0
_RUN_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """Of one pair."""

    schedule: Schedule
    default_s: float | None
    """Median of a call with the default schedule; None: see `problem`."""
    seconds: float | None
    """The same with `schedule`."""
    ratio: float | None
    """Median over the rounds of default / schedule."""
    rounds: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Pair:
    """The default and another schedule of a workload, compiled."""

    given: Any
    """MetaSchedule's ``RunnerInput``; None: it cannot be compiled, see `problem`."""
    problem: str


class Meter:
    """Has schedules measured."""

    def __init__(self, target: Any, cpu: Cpu, folder: Path, devices: Devices | None, jobs: int) -> None:
        """
        Args:
            target: the ``tvm.target.Target`` to compile for.
            cpu: what `target` is, for kernels.
            folder: gets the libraries.
            devices: where to run; None: here.
            jobs: processes that compile.
        """
        self._target, self._cpu, self._folder, self._devices, self._jobs = target, cpu, folder, devices, jobs
        self._runners: dict[tuple[int, int], Any] = {}
        self._pairs: dict[tuple[str, Schedule], _Pair] = {}

    def measure(self, workload: Workload, schedules: Sequence[Schedule], rounds: int, min_ms: int) -> Iterator[Result]:
        """Each of the schedules in turns with the default, in the order given.

        Args:
            rounds: turns of each.
            min_ms: how long a turn lasts at least, in milliseconds.
        """
        self._build(workload, schedules)
        width = self._devices.count if self._devices else 1
        for start in range(0, len(schedules), width):
            now = schedules[start : start + width]
            built = [self._pairs[workload.key, schedule] for schedule in now]
            with interrupts_wait(), started_by_libraries():
                runner = self._runner(rounds, min_ms)
                futures = [None if pair.given is None else runner.run([pair.given])[0] for pair in built]
                measured = [None if future is None else future.result() for future in futures]
            for schedule, pair, each in zip(now, built, measured, strict=True):
                if each is None:
                    yield Result(schedule, None, None, None, rounds, pair.problem)
                else:
                    yield _result(schedule, each, rounds)

    def _build(self, workload: Workload, schedules: Sequence[Schedule]) -> None:
        from tvm.s_tir.meta_schedule.builder import BuilderInput
        from tvm.s_tir.meta_schedule.runner import RunnerInput

        missing = [each for each in schedules if (workload.key, each) not in self._pairs]
        if not missing:
            return
        pairs = [self._pair(workload, schedule) for schedule in missing]
        with interrupts_wait(), started_by_libraries():
            built = self._builder.build([BuilderInput(module, self._target) for module, _ in pairs])
        for schedule, (_, arguments), result in zip(missing, pairs, built, strict=True):
            failed = result.error_msg is not None
            self._pairs[workload.key, schedule] = _Pair(
                None if failed else RunnerInput(str(result.artifact_path), "cpu", arguments),
                _last_line(str(result.error_msg)) if failed else "",
            )

    @functools.cached_property
    def _builder(self) -> Any:
        """Made when there is something to build: it starts a process."""
        from tvm.s_tir.meta_schedule.builder import LocalBuilder

        return LocalBuilder(
            max_workers=self._jobs,
            timeout_sec=_BUILD_TIMEOUT_S,
            f_build=duel.build_pair,
            f_export=functools.partial(duel.export_pair, str(self._folder)),
            initializer=duel.ignore_interrupts,
        )

    def _pair(self, workload: Workload, schedule: Schedule) -> tuple[Any, list[Any]]:
        import tvm
        from tvm.s_tir.meta_schedule.arg_info import ArgInfo

        functions = {duel.DEFAULT: workload.default(self._cpu), duel.CANDIDATE: schedule}
        made = {name: workload.function(self._cpu, each) for name, each in functions.items()}
        module = tvm.IRModule({name: each.with_attr("global_symbol", name) for name, each in made.items()})
        return module, [info for each in made.values() for info in ArgInfo.from_prim_func(each)]

    def _runner(self, rounds: int, min_ms: int) -> Any:
        if (rounds, min_ms) not in self._runners:
            self._runners[rounds, min_ms] = self._new_runner(rounds, min_ms)
        return self._runners[rounds, min_ms]

    def _new_runner(self, rounds: int, min_ms: int) -> Any:
        from tvm.s_tir.meta_schedule.runner import EvaluatorConfig, LocalRunner, RPCConfig, RPCRunner

        config = EvaluatorConfig(number=1, repeat=1, min_repeat_ms=min_ms)
        if self._devices is None:
            return LocalRunner(
                timeout_sec=_RUN_TIMEOUT_S,
                evaluator_config=config,
                f_run_evaluator=functools.partial(duel.take_turns, rounds),
                initializer=duel.ignore_interrupts,
            )
        devices = self._devices
        return RPCRunner(
            RPCConfig(devices.host, devices.port, devices.key, session_timeout_sec=int(_RUN_TIMEOUT_S)),
            evaluator_config=config,
            f_run_evaluator=functools.partial(duel.take_turns_remotely, rounds),
            max_workers=devices.count,
            initializer=duel.ignore_interrupts,
        )


def _result(schedule: Schedule, measured: Any, rounds: int) -> Result:
    if measured.error_msg is not None:
        return Result(schedule, None, None, None, rounds, _last_line(str(measured.error_msg)))
    seconds = [float(each) for each in measured.run_secs]
    default, candidate = seconds[::2], seconds[1::2]
    ratio = statistics.median(a / b for a, b in zip(default, candidate, strict=True))
    return Result(schedule, statistics.median(default), statistics.median(candidate), ratio, rounds)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
