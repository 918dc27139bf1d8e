"""How many CPUs this process has, and how many TVM uses."""

from __future__ import annotations

import functools
import math
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_THREADS: Final = "TVM_NUM_THREADS"
_BIND: Final = "TVM_BIND_THREADS"
_ENVIRONMENT: Final = threading.Lock()
"""Held while this process's environment says something to TVM."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """How many CPUs this process may use: its affinity, and less where a control group (a container) has a quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(each) for each in _quotas())]))


def _quotas() -> Iterator[float]:
    """CPUs that each control group around this process may use, of those with a limit (version 2 of cgroups)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        inner = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        return
    group = _CGROUPS / inner
    for folder in (group, *group.parents):
        if not folder.is_relative_to(_CGROUPS):
            return
        try:
            allowed = quota((folder / "cpu.max").read_text(encoding="ascii"))
        except OSError:  # the root has none
            continue
        if allowed is not None:
            yield allowed


def quota(text: str) -> float | None:
    """CPUs that ``cpu.max`` ("200000 100000", "max 100000") allows; None: all, or nobody can tell."""
    try:
        most, period = text.split()
        return None if most == "max" else int(most) / int(period)
    except (ValueError, ZeroDivisionError):
        return None


def configure_threads(threads: int | None = None) -> int:
    """Gives the calling thread its pool of TVM's threads, which it keeps: TVM has one for each thread that calls it.

    TVM by itself makes it half as large as the machine has logical CPUs, and ``runtime.config_threadpool`` cannot
    enlarge it, but ties the caller to one CPU (what it starts later inherits that). Only TVM_NUM_THREADS decides, when
    the pool is made and again in each call: where it is 1, or half of the CPUs are one, TVM computes without its
    pools. So it stays set in this process, to the largest number asked for. The threads are not tied to CPUs, unless
    TVM_BIND_THREADS says so: TVM would count CPUs from 0, whichever this process may use.

    Args:
        threads: ``TVM_NUM_THREADS`` where that is set, else all of `usable_cpus`, unless given.

    Returns:
        How many threads compute.

    Warns:
        UserWarning: the calling thread had a pool of another size already.

    Raises:
        UsageError: fewer than one, or TVM_NUM_THREADS is no number.
    """
    import tvm

    with _ENVIRONMENT:
        asked = _from_environment()
        wanted = (asked or usable_cpus()) if threads is None else threads
        if wanted < 1:
            from sam3port.errors import UsageError

            raise UsageError(f"{wanted} threads cannot compute", "give at least 1")
        largest = max(wanted, int(os.environ.get(_THREADS, "1")))
        os.environ.setdefault(_BIND, "0")
        os.environ[_THREADS] = str(wanted)
        there = int(tvm.get_global_func("runtime.NumThreads")())  # makes the pool
        os.environ[_THREADS] = str(largest)
    if there != min(wanted, os.cpu_count() or wanted):
        warnings.warn(
            f"TVM computes with {there} threads here, not {wanted}: this thread called it before", stacklevel=2
        )
    return there


@functools.cache
def _from_environment() -> int | None:
    """What the user set, before the first call changed it."""
    text = os.environ.get(_THREADS)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        from sam3port.errors import UsageError

        raise UsageError(f"{_THREADS} is {text!r}, which is no number", "set it to the number of threads") from None
