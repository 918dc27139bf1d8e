"""Errors that a user can act on: what is wrong, where, and what to do."""

from __future__ import annotations


class Sam3PortError(Exception):
    """Base of every error that sam3port raises on purpose.

    Never an ``ImportError``: upstream guards optional imports with ``except ImportError`` and would
    swallow it (for example sam3/perflib/nms.py:11), which would turn a drifted patch into a quiet fallback.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  -> {self.remedy}" if self.remedy else self.problem


class UsageError(Sam3PortError):
    """Wrong use: an unknown name, a contradiction between options. The command line exits with status 2."""


class UpstreamError(Sam3PortError):
    """The upstream source is absent, cannot be fetched, or is not what the pin says."""


class PatchError(Sam3PortError):
    """A patch cannot be applied; `sam3port.patching.drift.PatchDrift` says why."""


class StubError(Sam3PortError):
    """Something of a module that is not installed was called."""


def first_line(error: Exception) -> str:
    """What an error of any kind says, in one line: for a list of what failed, or a reason within another error."""
    if isinstance(error, Sam3PortError):
        return error.problem
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # TVM's last line says what it is about, after pages of its own stack.
    last = type(error).__module__.startswith(("tvm", "tvm_ffi"))
    return f"{type(error).__name__}: {lines[-1 if last else 0] if lines else 'no message'}"
