"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from sam3port.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def upstream_option(function: F) -> F:
    """``--upstream PATH``: a checkout of the user's instead of the pinned source."""
    return click.option(
        "--upstream",
        type=click.Path(path_type=Path),
        default=None,
        help="A checkout of sam3 to use instead of the pinned one (also SAM3PORT_UPSTREAM).",
    )(function)


def disable_option(function: F) -> F:
    """``--disable NAME``, repeatable, or names with commas."""
    return click.option(
        "--disable",
        "disable",
        multiple=True,
        callback=_split,
        metavar="NAME",
        help="Switch a patch or plugin off (repeatable; also SAM3PORT_DISABLE=a,b).",
    )(function)


def needs(extra: str) -> Callable[[F], F]:
    """The command's function is run only where the packages of ``extra`` are installed; ``--help`` works without them.

    Stands next to the function, below its options.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            from sam3port.machine.packages import require

            require(extra, click.get_current_context().command_path)
            return function(*arguments, **options)

        return cast(F, checked)

    return decorate


def target_options(function: F) -> F:
    """``--mcpu``, ``--triple``, ``--arch``: what `sam3port.build.request.BuildRequest.target_options` holds."""
    for option in (
        click.option("--arch", metavar="NAME", help="Target cuda: the GPU's architecture, sm_80 (usual), sm_90a, ..."),
        click.option("--triple", metavar="NAME", help="Target cpu: another machine, aarch64-linux-gnu, ..."),
        mcpu_option,
    ):
        function = option(function)
    return function


def mcpu_option(function: F) -> F:
    """``--mcpu NAME[,+FEATURE][,-FEATURE]``."""
    return click.option(
        "--mcpu",
        metavar="NAME[,-FEATURE]...",
        help="Target cpu: another CPU than this one's (native), with features added or taken away:"
        " x86-64-v3, sapphirerapids,-amx-tile, ...",
    )(function)


def artifact_option(function: F) -> F:
    """``--artifact DIR``: what a build has made; None: `sam3port.cli.own_artifact` is asked."""
    return click.option(
        "--artifact",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="From `build`. Without it the demo's, which knows drawn shapes only; built on first use, then kept.",
    )(function)


def features_option(function: F) -> F:
    """``--features DIR``: where `sam3port.runtime.features.FeatureFolder` keeps what the image encoder gave."""
    return click.option(
        "--features",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep the image encoder's results there, and read them from there when a picture comes again.",
    )(function)


def runner_option(function: F) -> F:
    """``--runner COMMAND``: the interpreter that runs what is built for another machine, as a tuple of words."""
    return click.option(
        "--runner",
        callback=_words,
        metavar="COMMAND",
        help="The Python that runs what was built, for another machine: an emulator's, with its arguments.",
    )(function)


def given(**options: str | None) -> dict[str, str]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _words(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    try:
        words = () if value is None else tuple(shlex.split(value, posix=os.name == "posix"))
    except ValueError as error:
        raise UsageError(f"--runner {value}: {error}", "write it as in a shell") from None
    if value is not None and not words:
        raise UsageError("--runner is empty", "name a Python interpreter, or leave it away")
    return words


def _split(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())
