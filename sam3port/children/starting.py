"""The one way in which sam3port starts Python.

A child imports what this interpreter would, wherever the user stands. Python puts the working folder first on the path
of ``python -m`` and ``python -c``: a ``numpy.py`` or a checkout of sam3port that lies there would be imported. So a
child gets a safe path, which means what is installed and what PYTHONPATH names. It does not get what a program has put
on its own ``sys.path``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Final

from sam3port.errors import Sam3PortError

_LETTERS: Final = {
    "optimize": "O",
    "dont_write_bytecode": "B",
    "no_user_site": "s",
    "no_site": "S",
    "ignore_environment": "E",
    "bytes_warning": "b",
    "verbose": "v",
    "debug": "d",
}


class CannotStart(Sam3PortError):
    """The system starts no more processes, or this Python cannot say where its program is."""


def run(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m MODULE ARGUMENTS`` to its end, without input.

    Args:
        module: what it executes.
        arguments: of the command line.
        environment: what differs from this process's environment.
        timeout: seconds after which it is killed; None: it is waited for.

    Returns:
        Its status and what it said. What is not UTF-8 there is replaced.

    Raises:
        CannotStart: there is no process.
        subprocess.TimeoutExpired: it was killed.
    """
    with _starting():
        return subprocess.run(
            _command(module, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(environment),
            timeout=timeout,
        )


def start(
    module: str,
    *arguments: str,
    log: IO[str] | IO[bytes],
    environment: Mapping[str, str] | None = None,
    interpreter: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Starts ``python -m MODULE ARGUMENTS``, to talk with in lines of UTF-8 through its ``stdin`` and ``stdout``.

    Ctrl-C in a terminal does not reach it: who starts it ends it.

    Args:
        module: what it executes.
        arguments: of the command line.
        log: an open file that gets what it prints to standard error.
        environment: what differs from this process's environment.
        interpreter: another Python than this one, its command and first arguments: an emulated one, for example. It
            finds its modules itself.

    Raises:
        CannotStart: there is no process.
    """
    with _starting(interpreter):
        return subprocess.Popen(
            [*interpreter, *_module(module, *arguments)] if interpreter else _command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            env=_environment(environment),
            start_new_session=os.name == "posix",
        )


@contextlib.contextmanager
def started_by_libraries() -> Iterator[None]:
    """Python that others start within the block, as TVM's pools do, finds its modules as our own children do.

    The environment of the whole process says so meanwhile. A pool starts its workers in threads: the block has to last
    until they have answered.
    """
    before = dict(os.environ)
    wanted = _environment(None)
    changed = {name for name in before.keys() | wanted.keys() if before.get(name) != wanted.get(name)}
    _set({name: wanted.get(name) for name in changed})
    try:
        yield
    finally:
        _set({name: before.get(name) for name in changed})


def command_for_people(module: str, *arguments: str) -> str:
    """What a message asks the user to type in order to see what a child says."""
    return " ".join([sys.executable or "python", "-P", "-m", module, *arguments])


def _command(module: str, *arguments: str) -> list[str]:
    if not sys.executable:
        raise CannotStart(
            "this Python does not know where its program is (sys.executable is empty), so it can start no process",
            "call sam3port from an ordinary interpreter",
        )
    return [sys.executable, *_options(), *_module(module, *arguments)]


def _module(module: str, *arguments: str) -> list[str]:
    return ["-P", "-m", module, *arguments]


def _options() -> list[str]:
    """What this interpreter was started with, as far as it changes what a program does."""
    flags = [f"-{letter * int(getattr(sys.flags, name))}" for name, letter in _LETTERS.items()]
    warnings = [f"-W{option}" for option in sys.warnoptions]
    special = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    return [*(flag for flag in flags if flag != "-"), *warnings, *special]


def _environment(changes: Mapping[str, str] | None) -> dict[str, str]:
    """Says by variables, which a child's own children inherit, where modules come from."""
    inherited = dict(os.environ)
    if sys.flags.ignore_environment:
        inherited = {name: value for name, value in inherited.items() if not name.startswith("PYTHON")}
    if sys.flags.no_user_site:
        inherited["PYTHONNOUSERSITE"] = "1"
    return {**inherited, "PYTHONSAFEPATH": "1", **(changes or {})}


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _starting(interpreter: Sequence[str] = ()) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        program = interpreter[0] if interpreter else sys.executable
        raise CannotStart(
            f"Python cannot be started ({program}): {error.strerror or error}",
            "see which limits the system has for processes and memory (ulimit -a)",
        ) from error
