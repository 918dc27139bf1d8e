"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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


def _split(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())
