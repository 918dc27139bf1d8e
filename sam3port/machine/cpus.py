"""How many CPUs this process has, and how many TVM uses."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """How many CPUs this process may run on: its affinity, where the system knows one."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def configure_threads(threads: int | None = None) -> None:
    """Sets the number of threads that TVM computes with, for calls from this thread.

    Args:
        threads: ``TVM_NUM_THREADS`` where that is set, else all of `usable_cpus`, unless given. TVM by itself takes
            half of the machine's logical CPUs.

    Raises:
        UsageError: fewer than one.
    """
    import tvm

    from sam3port.errors import UsageError

    if threads is None:
        if "TVM_NUM_THREADS" in os.environ:
            return
        threads = usable_cpus()
    if threads < 1:
        raise UsageError(f"{threads} threads cannot compute", "give at least 1")
    mode_of_all_cores = 0
    tvm.get_global_func("runtime.config_threadpool")(mode_of_all_cores, threads)
