"""Which weights a command works with: options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sam3port.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "SAM3PORT_CHECKPOINT"


def checkpoint_options(function: F) -> F:
    """``--checkpoint FILE`` and ``--base FILE``."""
    for option in (
        click.option(
            "--base",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The checkpoint that gives what a fine-tuned --checkpoint lacks.",
        ),
        click.option(
            "--checkpoint",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Weights from a file, a folder or hf:facebook/sam3 (also {VARIABLE}); see docs/weights.md.",
        ),
    ):
        function = option(function)
    return function


def checkpoint_files(
    checkpoint: Path | None, base: Path | None, seed: int | None = None
) -> tuple[Path | None, Path | None]:
    """The files that --checkpoint, or else the environment, and --base mean. Fetches what is on the hub.

    Args:
        checkpoint: as it was given.
        base: the same.
        seed: as it was given; it goes before the environment.

    Raises:
        UsageError: options that exclude each other; a file cannot be fetched.
    """
    if seed is not None and checkpoint is not None:
        raise UsageError("--seed and --checkpoint exclude each other", "give one of them")
    if checkpoint is None and seed is None and (named := os.environ.get(VARIABLE)):
        checkpoint = Path(named)
    if base is not None and checkpoint is None:
        raise UsageError("--base gives what a checkpoint lacks, and there is none", "give --checkpoint, too")
    return _here(checkpoint), _here(base)


def _here(path: Path | None) -> Path | None:
    from sam3port.model.checkpoints.hub import fetch, is_remote, parse

    if path is None or not is_remote(path):
        return path
    return fetch(parse(path.as_posix()), lambda text: click.echo(text, err=True))
