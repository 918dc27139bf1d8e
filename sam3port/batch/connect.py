"""The Ray that a job runs on: a cluster that is there, or this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import ray

from sam3port.batch.storage import line
from sam3port.children import started_by_libraries
from sam3port.errors import UsageError
from sam3port.machine.cpus import usable_cpus

LOCAL: Final = "local"
"""The address of a Ray of one's own on this machine."""
_EMPTY: Final = os.sep
"""Ray's workers import from the folder in which a program connects, so from a ``numpy.py`` there; from here nothing."""


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects this process within the block; a Ray on this machine is started for it, and ended with it.

    Args:
        address: `LOCAL`, ``auto`` (the cluster that this machine belongs to), or ``HOST:PORT`` of the head node.

    Raises:
        UsageError: there is no cluster, or it is of another version of Ray or Python.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is Ray's client, for interactive work", "start the command on a node of the cluster, with auto"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what the user has to know is said in our words
    given: dict[str, Any] = {"num_cpus": usable_cpus(), "include_dashboard": False} if address == LOCAL else {}
    try:
        with started_by_libraries(), contextlib.chdir(_EMPTY), _silent():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **given)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        ray.shutdown()
        raise UsageError(
            f"there is no Ray at {address}: {line(error)}",
            "start it (ray start --head), with the same versions of Ray and Python, or leave the address out",
        ) from None
    # Ray prints there what its nodes say: a page of log about each that dies.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Within the block nothing reaches standard error: Ray's C++ says there which log level it was given."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
